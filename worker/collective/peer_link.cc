#include "worker/collective/peer_link.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/error.h"
#include "worker/collective/thread_meeting.h"

namespace dasm {
namespace {

// Reading pauses above this: a peer that is ahead waits in the network and not
// in our memory.
constexpr int64_t kMaxInboxBytes = 8 << 20;
// Frames that wait to be sent before a caller is asked to wait.
constexpr size_t kMaxUnsent = 4;
constexpr size_t kMaxAbortMessage = 4096;

}  // namespace

worker::v1::FrameHeader AbortFrame(const absl::Status& why) {
  worker::v1::FrameHeader header;
  worker::v1::GangAbort* abort = header.mutable_abort();
  abort->set_code(static_cast<int>(why.code()));
  std::string message(why.message().substr(0, kMaxAbortMessage));
  // A proto string has to be UTF-8.
  for (char& c : message) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  abort->set_message(message);
  abort->set_failure_class(std::string(FailureClassName(FailureClassOf(why))));
  return header;
}

absl::Status AbortOf(const worker::v1::GangAbort& abort) {
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  if (abort.code() > 0 && abort.code() <= 16) {
    code = static_cast<absl::StatusCode>(abort.code());
  }
  FailureClass failure = FailureClass::kCollective;
  ParseFailureClass(abort.failure_class(), &failure);
  return WithFailureClass(absl::Status(code, abort.message()), failure);
}

PeerLink::PeerLink(std::unique_ptr<FrameStream> stream, LinkEvents* events)
    : stream_(std::move(stream)), events_(events) {
  start_.done = [this](bool ok) { OnStart(ok); };
  read_.done = [this](bool ok) { OnRead(ok); };
  write_.done = [this](bool ok) { OnWrite(ok); };
  why_.done = [this](bool ok) { OnWhy(ok); };
}

void PeerLink::Start() { OnStart(true); }

void PeerLink::Send(grpc::ByteBuffer frame) {
  {
    std::lock_guard<std::mutex> lock(events_->mutex);
    if (stream_ended_) return;
    outbox_.push_back(std::move(frame));
  }
  WriteNext();
}

bool PeerLink::HasRoom() const {
  std::lock_guard<std::mutex> lock(events_->mutex);
  return outbox_.size() < kMaxUnsent;
}

std::optional<ReceivedFrame> PeerLink::Take() {
  std::optional<ReceivedFrame> frame;
  bool resume = false;
  {
    std::lock_guard<std::mutex> lock(events_->mutex);
    if (inbox_.empty()) return frame;
    frame = std::move(inbox_.front());
    inbox_.pop_front();
    inbox_bytes_ -= frame->payload_size;
    resume = started_ && !reading_ && !stream_ended_ && !events_->stopping &&
             inbox_bytes_ <= kMaxInboxBytes;
    if (resume) reading_ = true;
  }
  if (resume) Read();
  return frame;
}

absl::Status PeerLink::ended() const {
  std::lock_guard<std::mutex> lock(events_->mutex);
  return inbox_.empty() ? ended_ : absl::OkStatus();
}

absl::Status PeerLink::Establish(const std::string& name) {
  std::lock_guard<std::mutex> lock(events_->mutex);
  established_ = true;
  name_ = name;
  for (const ReceivedFrame& frame : inbox_) {
    if (frame.header.has_abort()) return AbortOf(frame.header.abort());
  }
  return absl::OkStatus();
}

void PeerLink::SayGoodbye(int rank) {
  {
    std::lock_guard<std::mutex> lock(events_->mutex);
    if (said_goodbye_) return;
    said_goodbye_ = true;
  }
  worker::v1::FrameHeader header;
  header.mutable_goodbye()->set_rank(rank);
  Send(EncodeFrame(header));
}

bool PeerLink::FarewellOver() const {
  std::lock_guard<std::mutex> lock(events_->mutex);
  return goodbye_heard_ || stream_ended_;
}

void PeerLink::Cancel() { stream_->Cancel(); }

void PeerLink::OnStart(bool ok) {
  if (!ok) return OnRead(false);
  {
    std::lock_guard<std::mutex> lock(events_->mutex);
    if (events_->stopping) return;
    started_ = true;
    reading_ = true;
  }
  Read();
  WriteNext();
}

void PeerLink::Read() { stream_->Read(&arriving_, &read_); }

void PeerLink::OnRead(bool ok) {
  if (!ok) {
    {
      std::lock_guard<std::mutex> lock(events_->mutex);
      reading_ = false;
      stream_ended_ = true;
      if (events_->stopping) return;
    }
    if (!stream_->AskWhy(&why_)) OnWhy(true);
    return;
  }
  ReceivedFrame frame;
  if (!DecodeFrame(arriving_, &frame)) {
    {
      std::lock_guard<std::mutex> lock(events_->mutex);
      reading_ = false;
      stream_ended_ = true;
      EndLocked(absl::InternalError("sent something that is not a frame"));
    }
    stream_->Cancel();
    return;
  }
  arriving_.Clear();
  absl::Status aborted;
  bool acknowledge = false;
  bool resume = false;
  {
    std::lock_guard<std::mutex> lock(events_->mutex);
    if (established_ && frame.header.has_abort()) {
      aborted = AbortOf(frame.header.abort());
    } else if (established_ && frame.header.has_goodbye()) {
      acknowledge = true;
      if (ended_.ok()) {
        ended_ = CollectiveError(absl::UnavailableError(
            absl::StrFormat("rank %d is gone", frame.header.goodbye().rank())));
      }
    } else if (established_ && frame.header.has_goodbye_heard()) {
      goodbye_heard_ = true;
    } else {
      inbox_bytes_ += frame.payload_size;
      inbox_.push_back(std::move(frame));
    }
    Changed();
    resume = !events_->stopping && inbox_bytes_ <= kMaxInboxBytes;
    reading_ = resume;
  }
  if (resume) Read();
  if (acknowledge) {
    worker::v1::FrameHeader header;
    header.mutable_goodbye_heard();
    Send(EncodeFrame(header));
  }
  if (!aborted.ok() && events_->on_abort) events_->on_abort(aborted);
}

void PeerLink::OnWhy(bool) {
  const absl::Status why = stream_->Why();
  std::lock_guard<std::mutex> lock(events_->mutex);
  EndLocked(why);
}

// Starts the next write unless one runs.
void PeerLink::WriteNext() {
  const grpc::ByteBuffer* next;
  {
    std::lock_guard<std::mutex> lock(events_->mutex);
    if (!started_ || writing_ || outbox_.empty() || stream_ended_ ||
        events_->stopping) {
      return;
    }
    writing_ = true;
    // Stays where it is while others are added behind it.
    next = &outbox_.front();
  }
  stream_->Write(*next, &write_);
}

void PeerLink::OnWrite(bool ok) {
  {
    std::lock_guard<std::mutex> lock(events_->mutex);
    writing_ = false;
    outbox_.pop_front();
    const bool has_room = outbox_.size() == kMaxUnsent - 1;
    if (!ok) outbox_.clear();
    // Nobody waits for anything else.
    if (has_room || !ok) Changed();
  }
  WriteNext();
}

void PeerLink::Changed() {
  ++events_->version;
  events_->changed.notify_all();
}

void PeerLink::EndLocked(absl::Status why) {
  if (ended_.ok()) {
    ended_ = CollectiveError(
        name_.empty()
            ? std::move(why)
            : absl::Status(why.code(),
                           absl::StrCat(name_, " is gone: ", why.message())));
  }
  Changed();
}

}  // namespace dasm
