// A server stream that is filled on demand: messages are made on a pool thread,
// only while the client keeps up, and a stream that waits for news costs no
// thread.
#ifndef DASM_SERVER_SERVICE_STREAM_WRITER_H_
#define DASM_SERVER_SERVICE_STREAM_WRITER_H_

#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/handler.h"
#include "grpcpp/support/server_callback.h"
#include "server/service/work_pool.h"

namespace dasm {

// What a stream says next. Called by one thread at a time.
template <typename Message>
class StreamSource {
 public:
  enum class Next {
    kMore,  // ask again once what was added is sent
    kWait,  // ask again after Wake()
    kEnd,   // OK after what was added is sent
  };
  virtual ~StreamSource() = default;
  // Appends the next messages; may block. An error ends the stream with it.
  virtual absl::StatusOr<Next> Fill(std::deque<Message>* out) = 0;
};

// Owns itself from Start() until gRPC is done with the call.
template <typename Message>
class StreamWriter final
    : public grpc::ServerWriteReactor<Message>,
      public std::enable_shared_from_this<StreamWriter<Message>> {
 public:
  // Borrows `pool` and `metrics` (may be null).
  StreamWriter(WorkPool* pool, RpcMetrics* metrics, std::string_view method)
      : pool_(pool),
        metrics_(metrics),
        method_(method),
        start_(SystemClock()->Steady()) {}

  // Once. The stream is under way afterwards.
  void Start(std::unique_ptr<StreamSource<Message>> source) {
    self_ = this->shared_from_this();
    absl::MutexLock lock(&mutex_);
    source_ = std::move(source);
    wake_ = true;
    Pump();
  }

  // There is something new to ask the source for. From any thread.
  void Wake() {
    absl::MutexLock lock(&mutex_);
    wake_ = true;
    Pump();
  }

  // Ends the stream with `status` as soon as nothing is being sent.
  void End(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    if (!end_.has_value()) end_ = std::move(status);
    queue_.clear();
    Pump();
  }

 private:
  using Next = typename StreamSource<Message>::Next;

  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_ || writing_) return;
    if (!queue_.empty()) {
      current_ = std::move(queue_.front());
      queue_.pop_front();
      writing_ = true;
      this->StartWrite(&current_);
      return;
    }
    if (filling_) return;
    if (end_.has_value()) {
      finished_ = true;
      if (metrics_ != nullptr) {
        metrics_->Record(method_, end_->code(),
                         SystemClock()->Steady() - start_);
      }
      this->Finish(ToGrpcStatus(*end_));
      return;
    }
    if (source_ == nullptr || !wake_) return;
    wake_ = false;
    filling_ = true;
    pool_->Run([self = this->shared_from_this()] { self->Fill(); });
  }

  void Fill() {
    std::deque<Message> made;
    absl::StatusOr<Next> next = Next::kEnd;
    try {
      next = source_->Fill(&made);
    } catch (const std::exception& error) {
      next = rpc::FromException(method_, error.what());
    }
    absl::MutexLock lock(&mutex_);
    filling_ = false;
    // Ended meanwhile: what was made is of no use any more.
    if (!end_.has_value()) {
      for (Message& message : made) queue_.push_back(std::move(message));
      if (!next.ok()) {
        end_ = next.status();
      } else if (*next == Next::kEnd) {
        end_ = absl::OkStatus();
      } else if (*next == Next::kMore) {
        wake_ = true;
      }
    }
    Pump();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) {
      queue_.clear();
      if (!end_.has_value()) end_ = absl::CancelledError("the client is gone");
    }
    Pump();
  }

  void OnCancel() override { End(absl::CancelledError("the client is gone")); }

  void OnDone() override {
    // The last owner may be a pool thread.
    std::shared_ptr<StreamWriter> self = std::move(self_);
  }

  WorkPool* const pool_;
  RpcMetrics* const metrics_;
  const std::string_view method_;
  const absl::Duration start_;
  std::shared_ptr<StreamWriter> self_;
  std::unique_ptr<StreamSource<Message>> source_;

  absl::Mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  Message current_;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool wake_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool filling_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_STREAM_WRITER_H_
