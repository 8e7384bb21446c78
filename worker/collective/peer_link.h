// One stream to another process of a gang: what is to be sent waits in an
// outbox, what has come in an inbox.
//
// A link ends when the stream does or when the peer says goodbye; what came
// before can still be taken. Once established, an abort by the peer is reported
// at once and a goodbye is acknowledged.
// Threads: thread-safe; completions run on the network's thread.
#ifndef DASM_WORKER_COLLECTIVE_PEER_LINK_H_
#define DASM_WORKER_COLLECTIVE_PEER_LINK_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "dasm/worker/v1/collective.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "worker/collective/frame.h"

namespace dasm {

// What a completion queue gives back.
struct IoTag {
  std::function<void(bool ok)> done;
};

// One side of an Exchange stream; each operation ends with its tag.
class FrameStream {
 public:
  virtual ~FrameStream() = default;
  virtual void Read(grpc::ByteBuffer* message, IoTag* tag) = 0;
  virtual void Write(const grpc::ByteBuffer& message, IoTag* tag) = 0;
  // After a failed Read. False when there is nothing to ask for: then `tag`
  // does not come back.
  virtual bool AskWhy(IoTag* tag) = 0;
  // After AskWhy's tag: why the stream ended.
  virtual absl::Status Why() const = 0;
  virtual void Cancel() = 0;
};

// Shared by the links of a network and whoever waits for them.
struct LinkEvents {
  std::mutex mutex;
  std::condition_variable changed;
  // Grows with everything that somebody may wait for.
  uint64_t version = 0;
  // No operation starts any more.
  bool stopping = false;
  // Of the gang: whoever waits gives up.
  absl::Status failure;
  // Called without the mutex when an established peer aborts.
  std::function<void(const absl::Status&)> on_abort;
};

class PeerLink {
 public:
  // Borrows `events`. The network keeps a link until its operations have ended.
  PeerLink(std::unique_ptr<FrameStream> stream, LinkEvents* events);

  // For an accepted stream; a dialled one starts by start_tag().
  void Start();
  IoTag* start_tag() { return &start_; }

  void Send(grpc::ByteBuffer frame);
  // Whether few enough frames wait to be sent that another should be made.
  bool HasRoom() const;
  // The oldest frame that came; nothing when there is none yet.
  std::optional<ReceivedFrame> Take();
  // Not OK once the link has ended and everything was taken.
  absl::Status ended() const;

  // The peer has proved to be `name`, e.g. "rank 2". Returns its abort when
  // that has come already.
  absl::Status Establish(const std::string& name);
  // No call of `rank` will come any more. Once only; later ones do nothing.
  void SayGoodbye(int rank);
  // The peer has read everything up to the goodbye, or is gone.
  bool FarewellOver() const;
  void Cancel();

 private:
  void OnStart(bool ok);
  void OnRead(bool ok);
  void OnWrite(bool ok);
  void OnWhy(bool ok);
  void Read();
  void WriteNext();
  // With the mutex.
  void Changed();
  void EndLocked(absl::Status why);

  const std::unique_ptr<FrameStream> stream_;
  LinkEvents* const events_;
  IoTag start_, read_, write_, why_;
  // Of the operation that runs.
  grpc::ByteBuffer arriving_;

  // Guarded by events_->mutex.
  bool started_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool established_ = false;
  std::string name_;
  bool said_goodbye_ = false;
  bool goodbye_heard_ = false;
  bool stream_ended_ = false;
  absl::Status ended_;
  std::deque<grpc::ByteBuffer> outbox_;
  std::deque<ReceivedFrame> inbox_;
  int64_t inbox_bytes_ = 0;
};

// What an abort message says, and the other way round.
worker::v1::FrameHeader AbortFrame(const absl::Status& why);
absl::Status AbortOf(const worker::v1::GangAbort& abort);

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_PEER_LINK_H_
