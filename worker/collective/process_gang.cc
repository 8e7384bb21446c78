#include "worker/collective/process_gang.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "openssl/crypto.h"
#include "worker/collective/call_deadline.h"
#include "worker/collective/exchange_plan.h"
#include "worker/collective/gang_join.h"
#include "worker/collective/gang_network.h"
#include "worker/collective/gang_proof.h"
#include "worker/collective/process_exchange.h"
#include "worker/collective/shard_check.h"
#include "worker/collective/thread_meeting.h"

namespace dasm {
namespace {

constexpr int kMaxProcesses = 1024;
constexpr int kMaxThreads = 1024;
// How long the end of a gang waits for its last words to be heard.
constexpr std::chrono::seconds kFarewell(2);

absl::Status CheckJoin(int process,
                       const std::vector<ProcessGang::Member>& members,
                       const std::string& secret,
                       const ProcessGang::Options& options) {
  if (members.empty() || members.size() > kMaxProcesses || process < 0 ||
      process >= static_cast<int>(members.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("process ", process, " of ", members.size(),
                     "; a gang has 1 .. ", kMaxProcesses, " processes"));
  }
  for (size_t p = 0; p < members.size(); ++p) {
    if (members[p].threads < 1 || members[p].threads > kMaxThreads) {
      return absl::InvalidArgumentError(
          absl::StrCat("process ", p, " of a gang has ", members[p].threads,
                       " threads; must be 1 .. ", kMaxThreads));
    }
  }
  if (secret.size() != kGangSecretBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a gang secret has ", kGangSecretBytes, " bytes, not ", secret.size()));
  }
  for (absl::Duration each : {options.minimum_deadline, options.join_timeout}) {
    if (each <= absl::ZeroDuration() || each > absl::Hours(24 * 365)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a time limit of a gang is ", absl::FormatDuration(each),
                       "; must be above zero"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

class ProcessGang::State {
 public:
  explicit State(std::unique_ptr<GangNetwork> network)
      : network_(std::move(network)) {
    network_->events().on_abort = [this](const absl::Status& why) {
      Fail(why).IgnoreError();
    };
  }

  ~State() {
    SayGoodbye(layout_ == nullptr ? 0 : layout_->first_rank(process_));
    const auto deadline = std::chrono::steady_clock::now() + kFarewell;
    LinkEvents& events = network_->events();
    for (;;) {
      uint64_t seen;
      {
        std::lock_guard<std::mutex> lock(events.mutex);
        seen = events.version;
      }
      const auto peers = Peers();
      if (std::all_of(peers.begin(), peers.end(), [](PeerLink* peer) {
            return peer == nullptr || peer->FarewellOver();
          })) {
        return;
      }
      std::unique_lock<std::mutex> lock(events.mutex);
      if (!events.changed.wait_until(lock, deadline,
                                     [&] { return events.version != seen; })) {
        return;
      }
    }
  }

  const std::string& endpoint() const { return network_->endpoint(); }

  absl::Status Join(int process, const std::vector<Member>& members,
                    std::string secret, Options options) {
    GangJoin join;
    for (const Member& member : members) {
      join.endpoints.push_back(member.endpoint);
      join.threads.push_back(member.threads);
    }
    process_ = process;
    layout_ = std::make_unique<GangLayout>(join.threads);
    deadline_ = std::make_unique<CallDeadline>(options.minimum_deadline);
    {
      std::lock_guard<std::mutex> lock(network_->events().mutex);
      if (meeting_ != nullptr) {
        return absl::FailedPreconditionError("a gang can be joined once only");
      }
      meeting_ = std::make_unique<ThreadMeeting>(layout_->threads(process),
                                                 layout_->first_rank(process));
      peers_.assign(members.size(), nullptr);
      told_.assign(members.size(), false);
    }
    join.process = process;
    join.secret = std::move(secret);
    join.fence = options.fence;
    join.reduction = options.reduction;
    join.timeout = options.join_timeout;
    const auto until = std::chrono::steady_clock::now() +
                       absl::ToChronoNanoseconds(join.timeout);
    absl::Status status =
        JoinGang(join, network_.get(), until, [this](int p, PeerLink* link) {
          std::lock_guard<std::mutex> lock(network_->events().mutex);
          peers_[p] = link;
        });
    OPENSSL_cleanse(join.secret.data(), join.secret.size());
    if (!status.ok()) return Fail(std::move(status));
    network_->CloseDoor();
    exchange_ = std::make_unique<ProcessExchange>(
        *layout_,
        ProcessExchange::Options{.process = process,
                                 .reduction = options.reduction,
                                 .corrupt = std::move(options.corrupt)},
        &network_->events(), Peers());
    // From here on everyone has reached everyone, and the deadlines of calls
    // begin.
    status = exchange_->Run(
        {CollectiveCall{}}, ProcessExchange::kJoinCall,
        std::max(absl::Milliseconds(1),
                 absl::FromChrono(until - std::chrono::steady_clock::now())));
    return status.ok() ? status : Fail(std::move(status));
  }

  const GangLayout& layout() const { return *layout_; }
  int process() const { return process_; }
  int64_t payload_bytes_sent() const {
    return exchange_ == nullptr ? 0 : exchange_->payload_bytes_sent();
  }

  // One call of one local thread; `finish` copies what the first thread got.
  absl::Status Call(int thread, const CollectiveCall& call,
                    const std::function<void(const ThreadMeeting&)>& finish) {
    const auto start = std::chrono::steady_clock::now();
    const absl::Duration timeout = Timeout();
    absl::Status status = meeting_->Enter(thread, call, timeout);
    if (status.ok()) {
      if (thread == 0) {
        std::vector<CollectiveCall> calls;
        for (int t = 0; t < meeting_->size(); ++t) {
          calls.push_back(meeting_->call(t));
        }
        absl::Status done =
            exchange_->Run(calls, meeting_->entered() - 1, timeout);
        if (!done.ok()) {
          Fail(std::move(done)).IgnoreError();
        } else {
          std::lock_guard<std::mutex> lock(deadline_mutex_);
          deadline_->Add(
              absl::FromChrono(std::chrono::steady_clock::now() - start));
        }
      }
      if (meeting_->Await(thread).ok()) finish(*meeting_);
      status = meeting_->Leave(thread);
    }
    return status.ok() ? status : Fail(std::move(status));
  }

  // The first failure is that of the gang; all processes are told.
  absl::Status Fail(absl::Status why) {
    LinkEvents& events = network_->events();
    ThreadMeeting* meeting;
    {
      std::lock_guard<std::mutex> lock(events.mutex);
      if (!events.failure.ok()) why = events.failure;
      meeting = meeting_.get();
    }
    if (meeting != nullptr) why = meeting->Fail(std::move(why));
    std::vector<PeerLink*> untold;
    {
      std::lock_guard<std::mutex> lock(events.mutex);
      if (events.failure.ok()) events.failure = why;
      why = events.failure;
      ++events.version;
      events.changed.notify_all();
      for (size_t p = 0; p < peers_.size(); ++p) {
        if (peers_[p] == nullptr || told_[p]) continue;
        told_[p] = true;
        untold.push_back(peers_[p]);
      }
    }
    for (PeerLink* peer : untold) peer->Send(EncodeFrame(AbortFrame(why)));
    return why;
  }

  // A local rank is done or gone: whoever waits for it waits in vain.
  void End(int rank) {
    meeting_
        ->Fail(CollectiveError(
            absl::UnavailableError(absl::StrCat("rank ", rank, " is gone"))))
        .IgnoreError();
    SayGoodbye(rank);
  }

 private:
  std::vector<PeerLink*> Peers() {
    std::lock_guard<std::mutex> lock(network_->events().mutex);
    return peers_;
  }
  void SayGoodbye(int rank) {
    for (PeerLink* peer : Peers()) {
      if (peer != nullptr) peer->SayGoodbye(rank);
    }
  }
  absl::Duration Timeout() {
    std::lock_guard<std::mutex> lock(deadline_mutex_);
    return deadline_->Current();
  }

  int process_ = 0;
  std::unique_ptr<GangLayout> layout_;
  std::mutex deadline_mutex_;
  std::unique_ptr<CallDeadline> deadline_;  // guarded by deadline_mutex_
  std::unique_ptr<ProcessExchange> exchange_;
  // Guarded by the events' mutex: by process, those that have proved
  // themselves, and whether they know of the failure.
  std::vector<PeerLink*> peers_;
  std::vector<bool> told_;
  std::unique_ptr<ThreadMeeting> meeting_;  // set once, with the same mutex
  // Last: its thread ends before anything that it uses.
  std::unique_ptr<GangNetwork> network_;
};

class ProcessGang::ProcessCollective final : public Collective {
 public:
  ProcessCollective(std::shared_ptr<State> state, int thread)
      : state_(std::move(state)),
        thread_(thread),
        rank_(state_->layout().first_rank(state_->process()) + thread) {}
  ~ProcessCollective() override { state_->End(rank_); }

  int rank() const override { return rank_; }
  int size() const override { return state_->layout().ranks(); }

  absl::Status Broadcast(absl::Span<char> bytes) override {
    return state_->Call(thread_,
                        {.operation = Operation::kBroadcast,
                         .shards = 1,
                         .length = static_cast<int64_t>(bytes.size()),
                         .bytes = bytes.data()},
                        [&](const ThreadMeeting& meeting) {
                          if (thread_ == 0 || bytes.empty()) return;
                          std::memcpy(bytes.data(), meeting.call(0).bytes,
                                      bytes.size());
                        });
  }

  absl::Status Barrier() override {
    return state_->Call(thread_, {.operation = Operation::kBarrier},
                        [](const ThreadMeeting&) {});
  }

  void Abort(absl::Status why) override {
    state_->Fail(AbortStatus(std::move(why))).IgnoreError();
  }

 private:
  absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                           absl::Span<float> sum, int first) override {
    DASM_RETURN_IF_ERROR(
        FailUnless(CheckSum(rows.size(), shards, sum.size(), first, size())));
    return state_->Call(thread_,
                        {.operation = Operation::kSumShards,
                         .shards = shards,
                         .length = static_cast<int64_t>(sum.size()),
                         .first = first,
                         .rows = rows.data(),
                         .result = sum.data()},
                        [&](const ThreadMeeting& meeting) {
                          if (thread_ == 0) return;
                          const float* from = meeting.call(0).result;
                          std::copy(from, from + sum.size(), sum.data());
                        });
  }

  absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                              int first) override {
    DASM_RETURN_IF_ERROR(
        FailUnless(CheckGather(rows.size(), shards, first, size())));
    const int64_t length = static_cast<int64_t>(rows.size()) / shards;
    return state_->Call(
        thread_,
        {.operation = Operation::kGatherShards,
         .shards = shards,
         .length = length,
         .first = first,
         .result = rows.data()},
        [&](const ThreadMeeting& meeting) {
          const GangLayout& layout = state_->layout();
          for (int64_t s = 0; s < shards; ++s) {
            // The owner where it is of this process, else the first thread,
            // which got what came from outside.
            int from = 0;
            if (layout.process_of_shard(s, first) == state_->process()) {
              from = OwnerOfShard(s, size(), first) -
                     layout.first_rank(state_->process());
            }
            if (from == thread_) continue;
            const float* row = meeting.call(from).result + s * length;
            std::copy(row, row + length, rows.data() + s * length);
          }
        });
  }

  // A rank that made a wrong call will not come: its peers must not wait.
  absl::Status FailUnless(absl::Status status) {
    return status.ok() ? status
                       : state_->Fail(CollectiveError(std::move(status)));
  }

  const std::shared_ptr<State> state_;
  const int thread_;
  const int rank_;
};

absl::StatusOr<std::unique_ptr<ProcessGang>> ProcessGang::Listen(
    const std::string& endpoint) {
  DASM_ASSIGN_OR_RETURN(auto network, GangNetwork::Listen(endpoint));
  return std::unique_ptr<ProcessGang>(
      new ProcessGang(std::make_shared<State>(std::move(network))));
}

ProcessGang::ProcessGang(std::shared_ptr<State> state)
    : state_(std::move(state)) {}
ProcessGang::~ProcessGang() = default;

const std::string& ProcessGang::endpoint() const { return state_->endpoint(); }

absl::StatusOr<std::vector<std::unique_ptr<Collective>>> ProcessGang::Join(
    int process, const std::vector<Member>& members, std::string secret,
    Options options) {
  DASM_RETURN_IF_ERROR(CheckJoin(process, members, secret, options));
  DASM_RETURN_IF_ERROR(
      state_->Join(process, members, std::move(secret), std::move(options)));
  std::vector<std::unique_ptr<Collective>> collectives;
  for (int t = 0; t < members[process].threads; ++t) {
    collectives.push_back(std::make_unique<ProcessCollective>(state_, t));
  }
  return collectives;
}

void ProcessGang::Abort(absl::Status why) {
  state_->Fail(AbortStatus(std::move(why))).IgnoreError();
}

int64_t ProcessGang::payload_bytes_sent() const {
  return state_->payload_bytes_sent();
}

}  // namespace dasm
