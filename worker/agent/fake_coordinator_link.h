// A CoordinatorLink without a coordinator: answers what a test wants to be so,
// keeps blobs in memory, and writes down what it was asked, in order.
#ifndef DASM_WORKER_AGENT_FAKE_COORDINATOR_LINK_H_
#define DASM_WORKER_AGENT_FAKE_COORDINATOR_LINK_H_

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/artifact/digest.h"
#include "common/base/file_system.h"
#include "worker/agent/coordinator_link.h"

namespace dasm {

class FakeCoordinatorLink final : public CoordinatorLink {
 public:
  // Answers differ from what the agent applied, or are held.
  void Want(worker::v1::SynchronizeResponse response) {
    absl::MutexLock lock(&mutex_);
    response.set_generation(++generation_);
    response_ = std::move(response);
  }
  // Of every call while it is not OK.
  void FailWith(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    failure_ = std::move(status);
  }
  // Of CommitResult alone.
  void AnswerResultsWith(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    result_status_ = std::move(status);
  }
  // Calls of JoinGang are held before, and after an answer of UNAVAILABLE or
  // one that is not complete.
  void AnswerJoinsWith(absl::StatusOr<worker::v1::JoinGangResponse> answer) {
    absl::MutexLock lock(&mutex_);
    join_answer_ = std::move(answer);
  }
  bool AwaitJoins(size_t count, absl::Duration timeout) const {
    absl::MutexLock lock(&mutex_);
    const auto arrived = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return joins_.size() >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&arrived), timeout);
  }
  std::vector<worker::v1::JoinGangRequest> joins() const {
    absl::MutexLock lock(&mutex_);
    return joins_;
  }
  std::string AddBlob(const std::string& bytes) {
    absl::MutexLock lock(&mutex_);
    const std::string digest = Sha256(bytes);
    blobs_[digest] = bytes;
    return digest;
  }
  bool HasBlob(const std::string& digest) const {
    absl::MutexLock lock(&mutex_);
    return blobs_.contains(digest);
  }

  // "upload", "checkpoint 7", "result", "failure NUMERIC", "telemetry",
  // "download": what was asked and done.
  std::vector<std::string> log() const {
    absl::MutexLock lock(&mutex_);
    return log_;
  }
  // Whether `entry` is in the log before `timeout` of real time has passed.
  bool AwaitLog(const std::string& entry, absl::Duration timeout) const {
    absl::MutexLock lock(&mutex_);
    const auto logged = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return std::find(log_.begin(), log_.end(), entry) != log_.end();
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&logged), timeout);
  }
  // Whether a Synchronize request that `match`es arrives in that time; counts
  // those that arrived after the call of this.
  bool AwaitRequest(
      const std::function<bool(const worker::v1::SynchronizeRequest&)>& match,
      absl::Duration timeout) const {
    absl::MutexLock lock(&mutex_);
    const auto arrived = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return !requests_.empty() && match(requests_.back());
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&arrived), timeout);
  }
  // Whether a Synchronize fails (FailWith) in that time.
  bool AwaitFailedSynchronize(absl::Duration timeout) const {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&synchronize_failed_),
                                   timeout);
  }
  std::vector<worker::v1::CommitResultRequest> results() const {
    absl::MutexLock lock(&mutex_);
    return results_;
  }
  std::vector<worker::v1::ReportFailureRequest> failures() const {
    absl::MutexLock lock(&mutex_);
    return failures_;
  }
  std::vector<worker::v1::TaskTelemetry> telemetry() const {
    absl::MutexLock lock(&mutex_);
    return telemetry_;
  }

  std::shared_ptr<SynchronizeCall> Synchronize(
      const worker::v1::SynchronizeRequest& request, absl::Duration) override {
    absl::MutexLock lock(&mutex_);
    requests_.push_back(request);
    return std::make_shared<FakeSynchronizeCall>(this, request);
  }
  std::shared_ptr<JoinGangCall> JoinGang(
      const worker::v1::JoinGangRequest& request, absl::Duration) override {
    absl::MutexLock lock(&mutex_);
    joins_.push_back(request);
    return std::make_shared<FakeJoinCall>(this);
  }
  absl::Status CommitResult(
      const worker::v1::CommitResultRequest& request) override {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    log_.push_back("result");
    results_.push_back(request);
    return result_status_;
  }
  absl::Status ReportFailure(
      const worker::v1::ReportFailureRequest& request) override {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    log_.push_back(absl::StrCat("failure ", request.failure().failure_class()));
    failures_.push_back(request);
    return absl::OkStatus();
  }
  absl::Status CommitCheckpoint(
      const worker::v1::CommitCheckpointRequest& request) override {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    log_.push_back(absl::StrCat("checkpoint ", request.step()));
    return absl::OkStatus();
  }
  absl::Status ReportTelemetry(
      const worker::v1::ReportTelemetryRequest& request) override {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    for (const auto& task : request.tasks()) telemetry_.push_back(task);
    return absl::OkStatus();
  }
  absl::Status Download(const std::string& digest, const std::string& path,
                        int mode) override {
    std::string bytes;
    {
      absl::MutexLock lock(&mutex_);
      if (!failure_.ok()) return failure_;
      const auto found = blobs_.find(digest);
      if (found == blobs_.end()) return absl::NotFoundError(digest);
      bytes = found->second;
      log_.push_back("download");
    }
    auto writer = LocalFileSystem()->Create(path, mode);
    if (!writer.ok()) return writer.status();
    const absl::Status appended = (*writer)->Append(bytes);
    return appended.ok() ? (*writer)->Commit() : appended;
  }
  absl::Status Upload(const std::string& digest, int64_t size_bytes,
                      const std::string& path) override {
    absl::StatusOr<std::string> bytes = LocalFileSystem()->Read(path);
    if (!bytes.ok()) return bytes.status();
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return failure_;
    log_.push_back("upload");
    blobs_[digest] = *std::move(bytes);
    return absl::OkStatus();
  }

 private:
  class FakeJoinCall final : public JoinGangCall {
   public:
    explicit FakeJoinCall(FakeCoordinatorLink* link) : link_(link) {}
    absl::StatusOr<worker::v1::JoinGangResponse> Wait() override {
      absl::MutexLock lock(&link_->mutex_);
      const auto settled = [this]() ABSL_SHARED_LOCKS_REQUIRED(link_->mutex_) {
        return cancelled_ || link_->join_answer_.has_value();
      };
      link_->mutex_.Await(absl::Condition(&settled));
      if (cancelled_) return absl::CancelledError();
      const auto answer = *link_->join_answer_;
      const bool again = answer.ok() ? !answer->complete()
                                     : absl::IsUnavailable(answer.status());
      if (again) link_->join_answer_.reset();
      return answer;
    }
    void Cancel() override {
      absl::MutexLock lock(&link_->mutex_);
      cancelled_ = true;
    }

   private:
    FakeCoordinatorLink* const link_;
    bool cancelled_ = false;
  };
  class FakeSynchronizeCall final : public SynchronizeCall {
   public:
    FakeSynchronizeCall(FakeCoordinatorLink* link,
                        worker::v1::SynchronizeRequest request)
        : link_(link), request_(std::move(request)) {}
    absl::StatusOr<worker::v1::SynchronizeResponse> Wait() override {
      absl::MutexLock lock(&link_->mutex_);
      const auto settled = [this]() ABSL_SHARED_LOCKS_REQUIRED(link_->mutex_) {
        return cancelled_ || !link_->failure_.ok() || request_.draining() ||
               link_->generation_ != request_.applied_generation();
      };
      link_->mutex_.Await(absl::Condition(&settled));
      if (cancelled_) return absl::CancelledError();
      if (link_->failure_.ok()) return link_->response_;
      link_->synchronize_failed_ = true;
      return link_->failure_;
    }
    void Cancel() override {
      absl::MutexLock lock(&link_->mutex_);
      cancelled_ = true;
    }

   private:
    FakeCoordinatorLink* const link_;
    const worker::v1::SynchronizeRequest request_;
    bool cancelled_ = false;
  };

  mutable absl::Mutex mutex_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  worker::v1::SynchronizeResponse response_ ABSL_GUARDED_BY(mutex_);
  bool synchronize_failed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  absl::Status result_status_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::StatusOr<worker::v1::JoinGangResponse>> join_answer_
      ABSL_GUARDED_BY(mutex_);
  std::vector<worker::v1::JoinGangRequest> joins_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> blobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> log_ ABSL_GUARDED_BY(mutex_);
  std::vector<worker::v1::SynchronizeRequest> requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<worker::v1::CommitResultRequest> results_ ABSL_GUARDED_BY(mutex_);
  std::vector<worker::v1::ReportFailureRequest> failures_
      ABSL_GUARDED_BY(mutex_);
  std::vector<worker::v1::TaskTelemetry> telemetry_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_FAKE_COORDINATOR_LINK_H_
