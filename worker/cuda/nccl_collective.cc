#include "worker/cuda/nccl_collective.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/collective/shard_check.h"

namespace dasm {
namespace {

constexpr size_t kRemembered = 101;
constexpr double kMedians = 20;
// Between two looks of somebody who waits.
constexpr std::chrono::microseconds kGlance(50);

}  // namespace

absl::StatusOr<std::unique_ptr<NcclCollective>> NcclCollective::Join(
    const Options& options, NcclApi* nccl, DeviceQueue* queue,
    const Clock* clock) {
  if (options.ranks < 1 || options.rank < 0 || options.rank >= options.ranks) {
    return absl::InvalidArgumentError(
        absl::StrFormat("rank %d of %d", options.rank, options.ranks));
  }
  if (options.id.size() != kNcclIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the gang's NCCL id has %d bytes, not %d: rank 0 did "
                        "not bring one",
                        options.id.size(), kNcclIdBytes));
  }
  std::unique_ptr<NcclCollective> gang(
      new NcclCollective(options, nccl, queue, clock));
  DASM_RETURN_IF_ERROR(gang->AwaitJoined());
  gang->StartWatchdog();
  return gang;
}

NcclCollective::NcclCollective(const Options& options, NcclApi* nccl,
                               DeviceQueue* queue, const Clock* clock)
    : options_(options),
      nccl_(nccl),
      queue_(queue),
      clock_(clock),
      front_since_(clock->Steady()) {}

absl::Status NcclCollective::AwaitJoined() {
  NcclComm* comm = nullptr;
  const NcclResult begun =
      nccl_->BeginInit(options_.ranks, options_.id, options_.rank, &comm);
  if (begun.state == NcclResult::State::kError) {
    return Named(absl::UnavailableError(begun.error), "joining");
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    comm_ = comm;
  }
  const absl::Duration until = clock_->Steady() + options_.join_deadline;
  while (true) {
    const NcclResult result = nccl_->AsyncState(comm);
    absl::Status failure;
    if (result.state == NcclResult::State::kOk) return absl::OkStatus();
    if (result.state == NcclResult::State::kError) {
      failure = absl::UnavailableError(result.error);
    } else if (clock_->Steady() >= until) {
      failure = absl::DeadlineExceededError(
          absl::StrFormat("not all of %d ranks came within %s", options_.ranks,
                          absl::FormatDuration(options_.join_deadline)));
    }
    if (!failure.ok()) {
      Fail(Named(std::move(failure), "joining"));
      // Nobody else looks yet at whether the abort returns.
      StartWatchdog();
      return Check();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, kGlance);
  }
}

void NcclCollective::StartWatchdog() {
  watchdog_ = std::thread([this] { RunWatchdog(); });
}

NcclCollective::~NcclCollective() {
  // With its deadline; the status is whoever's who asked before.
  (void)AwaitDone([this] {
    std::lock_guard<std::mutex> lock(mutex_);
    return queued_;
  }());
  {
    std::unique_lock<std::mutex> lock(mutex_);
    // Leaving waits for the peers' last kernels, and may hang like an abort.
    if (comm_ != nullptr) Release(&NcclApi::Destroy);
    // One that hangs ends the process, and only the watchdog sees it.
    changed_.wait(lock,
                  [this] { return !releasing_ || released_ || stuck_told_; });
    leaving_ = true;
  }
  changed_.notify_all();
  if (watchdog_.joinable()) watchdog_.join();
  if (releaser_.joinable()) releaser_.join();
}

void NcclCollective::Release(void (NcclApi::*how)(NcclComm*)) {
  releasing_ = true;
  releasing_since_ = clock_->Steady();
  releaser_ = std::thread([this, how, comm = comm_] {
    (nccl_->*how)(comm);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      released_ = true;
    }
    changed_.notify_all();
  });
  comm_ = nullptr;
}

absl::Status NcclCollective::Named(absl::Status status,
                                   const std::string& what) const {
  if (FailureClassOf(status) == FailureClass::kInternal) {
    status = WithFailureClass(std::move(status), FailureClass::kCollective);
  }
  return WithContext(status, absl::StrCat("NCCL, rank ", options_.rank, " of ",
                                          options_.ranks, ", ", what));
}

absl::Status NcclCollective::Check() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

absl::Duration NcclCollective::Deadline() const {
  if (seconds_.empty()) return options_.least_deadline;
  std::vector<double> sorted = seconds_;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2,
                   sorted.end());
  return std::max(options_.least_deadline,
                  absl::Seconds(kMedians * sorted[sorted.size() / 2]));
}

void NcclCollective::Fail(absl::Status why) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!failure_.ok()) return;
  failure_ = AbortStatus(std::move(why));
  if (comm_ != nullptr) Release(&NcclApi::Abort);
  changed_.notify_all();
}

void NcclCollective::Abort(absl::Status why) { Fail(std::move(why)); }

void NcclCollective::Look() {
  absl::Status failure;
  bool stuck = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const absl::Duration now = clock_->Steady();
    // A mark that waits for an aborted kernel means nothing any more.
    while (failure_.ok() && !pending_.empty()) {
      const absl::StatusOr<bool> passed = pending_.front().mark->Passed();
      if (!passed.ok()) {
        failure = Named(passed.status(), pending_.front().what);
        break;
      }
      if (!*passed) break;
      const double seconds = absl::ToDoubleSeconds(now - front_since_);
      if (seconds_.size() < kRemembered) {
        seconds_.push_back(seconds);
      } else {
        seconds_[next_second_++ % kRemembered] = seconds;
      }
      front_since_ = now;
      done_ = pending_.front().number;
      pending_.pop_front();
      changed_.notify_all();
    }
    if (failure_.ok() && failure.ok() && comm_ != nullptr) {
      const NcclResult state = nccl_->AsyncState(comm_);
      const std::string what =
          pending_.empty() ? "between calls" : pending_.front().what;
      if (state.state == NcclResult::State::kError) {
        failure = Named(absl::UnavailableError(state.error), what);
      } else if (!pending_.empty() && now - front_since_ >= Deadline()) {
        failure = Named(absl::DeadlineExceededError(absl::StrFormat(
                            "not done after %s: a peer did not come",
                            absl::FormatDuration(now - front_since_))),
                        what);
      }
    }
    if (releasing_ && !released_ && !stuck_told_ &&
        now - releasing_since_ >= options_.abort_deadline) {
      stuck_told_ = true;
      stuck = true;
    }
  }
  if (!failure.ok()) Fail(std::move(failure));
  if (stuck) {
    if (options_.on_stuck) {
      absl::Status why = Check();
      if (why.ok()) why = absl::DeadlineExceededError("leaving the gang");
      options_.on_stuck(Named(std::move(why), "the library does not return"));
    }
    changed_.notify_all();
  }
}

void NcclCollective::RunWatchdog() {
  while (true) {
    Look();
    std::unique_lock<std::mutex> lock(mutex_);
    if (leaving_) return;
    changed_.wait_for(lock, std::chrono::nanoseconds(
                                absl::ToInt64Nanoseconds(options_.period)));
    if (leaving_) return;
  }
}

absl::Status NcclCollective::Settle(const char* what, NcclResult result) {
  const absl::Duration since = clock_->Steady();
  while (result.state == NcclResult::State::kInProgress) {
    NcclComm* comm;
    absl::Duration deadline;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (!failure_.ok()) return failure_;
      comm = comm_;
      deadline = Deadline();
      // Under the lock: an abort frees the communicator.
      result = nccl_->AsyncState(comm);
      if (result.state == NcclResult::State::kInProgress) {
        changed_.wait_for(lock, kGlance);
      }
    }
    if (result.state == NcclResult::State::kInProgress &&
        clock_->Steady() - since >= deadline) {
      Fail(Named(absl::DeadlineExceededError(absl::StrFormat(
                     "not accepted after %s",
                     absl::FormatDuration(clock_->Steady() - since))),
                 what));
      return Check();
    }
  }
  if (result.state == NcclResult::State::kError) {
    Fail(Named(absl::UnavailableError(result.error), what));
    return Check();
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> NcclCollective::Watch(const char* what) {
  absl::StatusOr<std::unique_ptr<DeviceMark>> mark = queue_->Mark();
  if (!mark.ok()) {
    Fail(Named(mark.status(), what));
    return Check();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  if (pending_.empty()) front_since_ = clock_->Steady();
  pending_.push_back({what, *std::move(mark), ++queued_});
  return queued_;
}

absl::Status NcclCollective::AwaitDone(uint64_t number) {
  while (true) {
    Look();
    std::unique_lock<std::mutex> lock(mutex_);
    if (!failure_.ok()) return failure_;
    if (done_ >= number) return absl::OkStatus();
    changed_.wait_for(lock, kGlance);
  }
}

absl::StatusOr<NcclCollective::PackedRows> NcclCollective::QueuePackedRows(
    const char* what, const ShardRows& shape, int first, const float* rows) {
  PackedRows packed;
  DASM_ASSIGN_OR_RETURN(packed.own, queue_->Allocate(shape.packed_elements()));
  DASM_ASSIGN_OR_RETURN(packed.all,
                        queue_->Allocate(shape.packed_elements() * size()));
  packed.rows = packed.all->data() + first * shape.packed_elements();
  if (rank() >= first) {
    DASM_RETURN_IF_ERROR(
        queue_->Pack(shape, rank() - first, rows, packed.own->data()));
  }
  NcclResult result;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_.ok()) return failure_;
    result = nccl_->AllGather(packed.own->data(), packed.all->data(),
                              shape.packed_elements(), comm_, queue_->stream());
  }
  DASM_RETURN_IF_ERROR(Settle(what, std::move(result)));
  return packed;
}

absl::Status NcclCollective::QueueGather(const ShardRows& shape, int first,
                                         float* rows) {
  DASM_ASSIGN_OR_RETURN(const PackedRows packed,
                        QueuePackedRows("GatherShards", shape, first, rows));
  return queue_->Unpack(shape, packed.rows, rows);
}

absl::Status NcclCollective::QueueSum(const ShardRows& shape, int first,
                                      const float* rows, float* sum) {
  if (shape.shards == 1 && first == 0) {
    if (rank() == 0) DASM_RETURN_IF_ERROR(queue_->SumPacked(shape, rows, sum));
    NcclResult result;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!failure_.ok()) return failure_;
      result = nccl_->BroadcastBytes(
          reinterpret_cast<char*>(sum),
          shape.length * static_cast<int64_t>(sizeof(float)), comm_,
          queue_->stream());
    }
    return Settle("SumShards", std::move(result));
  }
  if (!options_.ordered) {
    ShardRows mine = shape;
    // Zeros.
    if (rank() < first) mine.shards = 0;
    DASM_RETURN_IF_ERROR(
        queue_->SumOwned(mine, std::max(0, rank() - first), rows, sum));
    NcclResult result;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!failure_.ok()) return failure_;
      result = nccl_->AllReduce(sum, shape.length, comm_, queue_->stream());
    }
    return Settle("SumShards", std::move(result));
  }
  DASM_ASSIGN_OR_RETURN(const PackedRows packed,
                        QueuePackedRows("SumShards", shape, first, rows));
  return queue_->SumPacked(shape, packed.rows, sum);
}

absl::Status NcclCollective::DoSumShards(absl::Span<const float> rows,
                                         int64_t shards, absl::Span<float> sum,
                                         int first) {
  DASM_RETURN_IF_ERROR(Check());
  const int64_t length = static_cast<int64_t>(sum.size());
  if (absl::Status sizes = CheckSum(static_cast<int64_t>(rows.size()), shards,
                                    length, first, size());
      !sizes.ok()) {
    Fail(sizes);
    return sizes;
  }
  const ShardRows shape = {shards, length, size() - first};
  if (length == 0) return Barrier();
  const absl::Status status = [&]() -> absl::Status {
    if (memory() == Memory::kDevice) {
      DASM_RETURN_IF_ERROR(QueueSum(shape, first, rows.data(), sum.data()));
      return Watch("SumShards").status();
    }
    DASM_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceBuffer> in,
                          queue_->Allocate(rows.size()));
    DASM_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceBuffer> out,
                          queue_->Allocate(length));
    DASM_RETURN_IF_ERROR(
        queue_->CopyIn(in->data(), rows.data(), rows.size() * sizeof(float)));
    DASM_RETURN_IF_ERROR(QueueSum(shape, first, in->data(), out->data()));
    DASM_ASSIGN_OR_RETURN(const uint64_t number, Watch("SumShards"));
    DASM_RETURN_IF_ERROR(AwaitDone(number));
    return queue_->CopyOut(sum.data(), out->data(), length * sizeof(float));
  }();
  // Peers wait for a rank that cannot take part.
  if (!status.ok()) Fail(status);
  return status;
}

absl::Status NcclCollective::DoGatherShards(absl::Span<float> rows,
                                            int64_t shards, int first) {
  DASM_RETURN_IF_ERROR(Check());
  if (absl::Status sizes =
          CheckGather(static_cast<int64_t>(rows.size()), shards, first, size());
      !sizes.ok()) {
    Fail(sizes);
    return sizes;
  }
  const ShardRows shape = {shards, static_cast<int64_t>(rows.size()) / shards,
                           size() - first};
  if (shape.length == 0) return Barrier();
  const absl::Status status = [&]() -> absl::Status {
    if (memory() == Memory::kDevice) {
      DASM_RETURN_IF_ERROR(QueueGather(shape, first, rows.data()));
      return Watch("GatherShards").status();
    }
    DASM_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceBuffer> buffer,
                          queue_->Allocate(rows.size()));
    DASM_RETURN_IF_ERROR(queue_->CopyIn(buffer->data(), rows.data(),
                                        rows.size() * sizeof(float)));
    DASM_RETURN_IF_ERROR(QueueGather(shape, first, buffer->data()));
    DASM_ASSIGN_OR_RETURN(const uint64_t number, Watch("GatherShards"));
    DASM_RETURN_IF_ERROR(AwaitDone(number));
    return queue_->CopyOut(rows.data(), buffer->data(),
                           rows.size() * sizeof(float));
  }();
  if (!status.ok()) Fail(status);
  return status;
}

absl::Status NcclCollective::Broadcast(absl::Span<char> bytes) {
  DASM_RETURN_IF_ERROR(Check());
  // An empty message still keeps the ranks in step.
  const int64_t count = std::max<int64_t>(1, bytes.size());
  const absl::Status status = [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceBuffer> buffer,
                          queue_->Allocate((count + 3) / 4));
    char* data = reinterpret_cast<char*>(buffer->data());
    if (rank() == 0 && !bytes.empty()) {
      DASM_RETURN_IF_ERROR(queue_->CopyIn(data, bytes.data(), bytes.size()));
    }
    NcclResult result;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!failure_.ok()) return failure_;
      result = nccl_->BroadcastBytes(data, count, comm_, queue_->stream());
    }
    DASM_RETURN_IF_ERROR(Settle("Broadcast", std::move(result)));
    DASM_ASSIGN_OR_RETURN(const uint64_t number, Watch("Broadcast"));
    DASM_RETURN_IF_ERROR(AwaitDone(number));
    if (bytes.empty()) return absl::OkStatus();
    return queue_->CopyOut(bytes.data(), data, bytes.size());
  }();
  if (!status.ok()) Fail(status);
  return status;
}

absl::Status NcclCollective::Barrier() {
  DASM_RETURN_IF_ERROR(Check());
  const absl::Status status = [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(const std::unique_ptr<DeviceBuffer> token,
                          queue_->Allocate(1));
    NcclResult result;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!failure_.ok()) return failure_;
      result = nccl_->AllReduce(token->data(), 1, comm_, queue_->stream());
    }
    DASM_RETURN_IF_ERROR(Settle("Barrier", std::move(result)));
    DASM_ASSIGN_OR_RETURN(const uint64_t number, Watch("Barrier"));
    return AwaitDone(number);
  }();
  if (!status.ok()) Fail(status);
  return status;
}

}  // namespace dasm
