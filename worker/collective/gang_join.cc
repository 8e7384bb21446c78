#include "worker/collective/gang_join.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/collective/frame.h"
#include "worker/collective/gang_proof.h"
#include "worker/collective/process_exchange.h"
#include "worker/collective/thread_meeting.h"

namespace dasm {
namespace {

using worker::v1::FrameHeader;
using worker::v1::GangHello;

constexpr int kProtocol = 1;

class Joining {
 public:
  Joining(const GangJoin& join, GangNetwork* network,
          const std::function<void(int, PeerLink*)>& established)
      : join_(join),
        network_(network),
        report_(established),
        layout_(join.threads),
        established_(layout_.processes(), false),
        refused_(layout_.processes()) {}

  absl::Status Run(std::chrono::steady_clock::time_point deadline) {
    established_[join_.process] = true;
    for (int p = 0; p < join_.process; ++p) Dial(p);
    LinkEvents& events = network_->events();
    for (;;) {
      uint64_t seen;
      {
        std::lock_guard<std::mutex> lock(events.mutex);
        if (!events.failure.ok()) return events.failure;
        seen = events.version;
      }
      for (PeerLink* link : network_->TakeAccepted()) {
        pending_.push_back({.link = link});
      }
      for (Pending& pending : pending_) {
        if (!pending.over) DASM_RETURN_IF_ERROR(Advance(&pending));
      }
      if (Missing().empty()) return absl::OkStatus();
      std::unique_lock<std::mutex> lock(events.mutex);
      if (!events.changed.wait_until(lock, deadline,
                                     [&] { return events.version != seen; })) {
        lock.unlock();
        return Late();
      }
    }
  }

 private:
  struct Pending {
    PeerLink* link;
    GangSide side = GangSide::kListener;  // ours
    // Of the peer; an accepted stream says it in its hello.
    int process = -1;
    GangHandshake handshake;
    bool proof_checked = false;
    bool over = false;
  };

  std::string Name(int process) const { return RanksOf(layout_, process); }

  std::vector<int> Missing() const {
    std::vector<int> ranks;
    for (int p = 0; p < layout_.processes(); ++p) {
      if (established_[p]) continue;
      for (int t = 0; t < layout_.threads(p); ++t) {
        ranks.push_back(layout_.first_rank(p) + t);
      }
    }
    return ranks;
  }

  absl::Status Late() const {
    for (int p = 0; p < layout_.processes(); ++p) {
      if (!established_[p] && !refused_[p].ok()) return refused_[p];
    }
    return DidNotCome(Missing(), "Join", join_.timeout);
  }

  absl::Status WrongProof(int process) const {
    return CollectiveError(absl::PermissionDeniedError(absl::StrCat(
        Name(process), " proved another gang secret than that of fence ",
        join_.fence, "; it is not of this attempt")));
  }

  GangHello Hello(const std::string& nonce) const {
    GangHello hello;
    hello.set_protocol(kProtocol);
    hello.set_process(join_.process);
    hello.set_fence(join_.fence);
    hello.set_nonce(nonce);
    hello.mutable_threads()->Assign(join_.threads.begin(), join_.threads.end());
    hello.set_reduction(std::string(ReductionName(join_.reduction)));
    return hello;
  }

  void Dial(int process) {
    Pending pending;
    pending.link = network_->Dial(join_.endpoints[process]);
    pending.side = GangSide::kDialler;
    pending.process = process;
    pending.handshake = {.fence = join_.fence,
                         .dialler = join_.process,
                         .listener = process,
                         .dialler_nonce = NewGangNonce()};
    FrameHeader header;
    *header.mutable_hello() = Hello(pending.handshake.dialler_nonce);
    pending.link->Send(EncodeFrame(header));
    pending_.push_back(std::move(pending));
  }

  absl::Status Advance(Pending* pending) {
    while (!pending->over) {
      const std::optional<ReceivedFrame> frame = pending->link->Take();
      if (!frame.has_value()) {
        const absl::Status ended = pending->link->ended();
        if (ended.ok()) return absl::OkStatus();
        pending->over = true;
        if (pending->side == GangSide::kListener) return absl::OkStatus();
        return CollectiveError(absl::Status(
            ended.code(),
            absl::StrCat(Name(pending->process), " at ",
                         join_.endpoints[pending->process],
                         " did not finish the handshake: ", ended.message())));
      }
      DASM_RETURN_IF_ERROR(pending->side == GangSide::kDialler
                               ? OnFrameAsDialler(frame->header, pending)
                               : OnFrameAsListener(frame->header, pending));
    }
    return absl::OkStatus();
  }

  absl::Status OnFrameAsDialler(const FrameHeader& header, Pending* pending) {
    const int process = pending->process;
    if (header.has_challenge() && !pending->proof_checked) {
      pending->handshake.listener_nonce = header.challenge().nonce();
      if (!GangProofIsRight(header.challenge().proof(), join_.secret,
                            GangSide::kListener, pending->handshake)) {
        const absl::Status wrong = WrongProof(process);
        Refuse(pending, wrong);
        return wrong;
      }
      pending->proof_checked = true;
      FrameHeader answer;
      answer.mutable_proof()->set_proof(
          GangProofOf(join_.secret, GangSide::kDialler, pending->handshake));
      pending->link->Send(EncodeFrame(answer));
      return absl::OkStatus();
    }
    if (header.has_welcome() && pending->proof_checked) {
      return Establish(pending);
    }
    pending->over = true;
    if (header.has_abort()) {
      const absl::Status why = AbortOf(header.abort());
      return CollectiveError(absl::Status(
          why.code(), absl::StrCat(Name(process), " refused rank ",
                                   layout_.first_rank(join_.process), ": ",
                                   why.message())));
    }
    return CollectiveError(absl::InternalError(
        absl::StrCat(Name(process), " sent an unexpected message in Join")));
  }

  absl::Status OnFrameAsListener(const FrameHeader& header, Pending* pending) {
    if (header.has_hello() && pending->process < 0) {
      const GangHello& hello = header.hello();
      const absl::Status known = CheckHello(hello);
      if (!known.ok()) {
        Refuse(pending, known);
        return absl::OkStatus();
      }
      pending->process = hello.process();
      pending->handshake = {.fence = join_.fence,
                            .dialler = hello.process(),
                            .listener = join_.process,
                            .dialler_nonce = hello.nonce(),
                            .listener_nonce = NewGangNonce()};
      FrameHeader answer;
      answer.mutable_challenge()->set_nonce(pending->handshake.listener_nonce);
      answer.mutable_challenge()->set_proof(
          GangProofOf(join_.secret, GangSide::kListener, pending->handshake));
      pending->link->Send(EncodeFrame(answer));
      return absl::OkStatus();
    }
    if (header.has_proof() && pending->process >= 0 &&
        !established_[pending->process]) {
      if (!GangProofIsRight(header.proof().proof(), join_.secret,
                            GangSide::kDialler, pending->handshake)) {
        refused_[pending->process] = WrongProof(pending->process);
        Refuse(pending, refused_[pending->process]);
        return absl::OkStatus();
      }
      FrameHeader answer;
      answer.mutable_welcome();
      pending->link->Send(EncodeFrame(answer));
      return Establish(pending);
    }
    // What an unproved peer says is worth remembering, not believing.
    if (header.has_abort() && pending->process >= 0) {
      const absl::Status why = AbortOf(header.abort());
      refused_[pending->process] = CollectiveError(absl::Status(
          why.code(), absl::StrCat(Name(pending->process),
                                   " left the handshake: ", why.message())));
    }
    pending->over = true;
    return absl::OkStatus();
  }

  absl::Status CheckHello(const GangHello& hello) {
    const int process = hello.process();
    if (process <= join_.process || process >= layout_.processes() ||
        hello.nonce().size() != kGangNonceBytes) {
      return CollectiveError(absl::InvalidArgumentError(
          absl::StrCat("process ", process, " does not dial process ",
                       join_.process, " of ", layout_.processes())));
    }
    if (established_[process]) {
      return CollectiveError(absl::AlreadyExistsError(
          absl::StrCat(Name(process), " has joined already")));
    }
    if (hello.fence() != join_.fence) {
      return CollectiveError(absl::FailedPreconditionError(
          absl::StrCat(Name(process), " is of fence ", hello.fence(),
                       ", the gang of fence ", join_.fence)));
    }
    const GangHello mine = Hello("");
    if (hello.protocol() != kProtocol ||
        hello.reduction() != mine.reduction() ||
        !std::equal(hello.threads().begin(), hello.threads().end(),
                    join_.threads.begin(), join_.threads.end())) {
      refused_[process] =
          CollectiveError(absl::FailedPreconditionError(absl::StrCat(
              Name(process), " and rank ", layout_.first_rank(join_.process),
              " know different gangs (protocol, reduction or threads "
              "of each process); give all the same")));
      return refused_[process];
    }
    return absl::OkStatus();
  }

  void Refuse(Pending* pending, const absl::Status& why) {
    pending->link->Send(EncodeFrame(AbortFrame(why)));
    pending->over = true;
  }

  absl::Status Establish(Pending* pending) {
    pending->over = true;
    established_[pending->process] = true;
    report_(pending->process, pending->link);
    return pending->link->Establish(Name(pending->process));
  }

  const GangJoin& join_;
  GangNetwork* const network_;
  const std::function<void(int, PeerLink*)>& report_;
  const GangLayout layout_;
  std::vector<bool> established_;      // by process
  std::vector<absl::Status> refused_;  // by process: why it is not
  std::vector<Pending> pending_;
};

}  // namespace

absl::Status JoinGang(
    const GangJoin& join, GangNetwork* network,
    std::chrono::steady_clock::time_point deadline,
    const std::function<void(int process, PeerLink* link)>& established) {
  return Joining(join, network, established).Run(deadline);
}

}  // namespace dasm
