#include "worker/cuda/fake_nccl.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/cuda/shard_row_math.h"

namespace dasm {

// Runs what it can and returns true, or false to be asked again.
using Work = std::function<bool()>;

struct FakeDeviceQueue::Impl {
  FakeNccl* nccl = nullptr;
  std::deque<Work> work;
  uint64_t queued = 0;
  uint64_t run = 0;
  absl::Status failure;
};

struct NcclComm {
  std::string id;
  int rank = 0;
  int ranks = 0;
  bool aborted = false;
  int init_answers = 0;
  int call_answers = 0;  // left of the call that was made last
  int64_t calls = 0;
};

struct FakeNccl::Impl {
  mutable std::mutex mutex;
  std::condition_variable changed;
  Faults faults;
  bool aborts_released = false;
  int aborts = 0;
  int destroyed = 0;
  int ids = 0;
  int64_t max_calls = 0;
  std::set<FakeDeviceQueue::Impl*> queues;
  std::set<NcclComm*> comms;
  std::map<std::string, std::set<int>> joined;
  // By gang and number of the call: what each rank brought.
  std::map<std::pair<std::string, int64_t>, std::map<int, std::vector<char>>>
      brought;

  // Everything that can run, until nothing does. mutex held.
  void Pump() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (FakeDeviceQueue::Impl* queue : queues) {
        while (!queue->work.empty() && queue->work.front()()) {
          queue->work.pop_front();
          ++queue->run;
          moved = true;
        }
      }
    }
  }
  void Push(FakeDeviceQueue::Impl* queue, Work work) {
    queue->work.push_back(std::move(work));
    ++queue->queued;
    Pump();
  }
  // A call: brings bytes when the stream gets there, and goes on with
  // everybody's once all are there.
  NcclResult Call(
      NcclComm* comm, void* stream, const void* send, int64_t bytes,
      std::function<void(const std::map<int, std::vector<char>>&)> receive) {
    const int64_t number = comm->calls++;
    max_calls = std::max(max_calls, comm->calls);
    if (Lost()) return {NcclResult::State::kError, "remote process exited"};
    comm->call_answers = faults.call_in_progress;
    Push(static_cast<FakeDeviceQueue*>(stream)->impl_.get(),
         [this, comm, number, send, bytes, receive = std::move(receive),
          first = true]() mutable {
           if (!comms.contains(comm) || comm->aborted) return true;
           auto& all = brought[{comm->id, number}];
           if (first) {
             const char* begin = static_cast<const char*>(send);
             all[comm->rank].assign(begin, begin + bytes);
             first = false;
           }
           if (static_cast<int>(all.size()) < comm->ranks) return false;
           receive(all);
           return true;
         });
    return {comm->call_answers > 0 ? NcclResult::State::kInProgress
                                   : NcclResult::State::kOk,
            ""};
  }
  bool Lost() const {
    return faults.lost_at_call >= 0 && max_calls > faults.lost_at_call;
  }
};

FakeNccl::FakeNccl() : impl_(new Impl) {}

FakeNccl::~FakeNccl() {
  for (NcclComm* comm : impl_->comms) delete comm;
}

void FakeNccl::set_faults(const Faults& faults) {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->faults = faults;
}

void FakeNccl::ReleaseAborts() {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->aborts_released = true;
  impl_->changed.notify_all();
}

int FakeNccl::aborts() const {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->aborts;
}

int FakeNccl::destroyed() const {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->destroyed;
}

absl::StatusOr<std::string> FakeNccl::NewId() {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  std::string id = absl::StrCat("gang ", ++impl_->ids);
  id.resize(kNcclIdBytes, '.');
  return id;
}

NcclResult FakeNccl::BeginInit(int ranks, const std::string& id, int rank,
                               NcclComm** comm) {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  if (!impl_->faults.init_error.empty()) {
    return {NcclResult::State::kError, impl_->faults.init_error};
  }
  *comm = new NcclComm;
  (*comm)->id = id;
  (*comm)->rank = rank;
  (*comm)->ranks = ranks;
  impl_->comms.insert(*comm);
  impl_->joined[id].insert(rank);
  return {NcclResult::State::kInProgress, ""};
}

NcclResult FakeNccl::AsyncState(NcclComm* comm) {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->Pump();
  if (impl_->Lost()) {
    return {NcclResult::State::kError, "remote process exited"};
  }
  if (static_cast<int>(impl_->joined[comm->id].size()) < comm->ranks) {
    return {NcclResult::State::kInProgress, ""};
  }
  const int wanted = impl_->faults.init_in_progress;
  if (wanted < 0 || comm->init_answers++ < wanted) {
    return {NcclResult::State::kInProgress, ""};
  }
  if (comm->call_answers > 0 && --comm->call_answers > 0) {
    return {NcclResult::State::kInProgress, ""};
  }
  return {};
}

NcclResult FakeNccl::AllGather(const float* send, float* receive, int64_t count,
                               NcclComm* comm, void* stream) {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->Call(
      comm, stream, send, count * sizeof(float),
      [receive, count](const std::map<int, std::vector<char>>& all) {
        for (const auto& [rank, bytes] : all) {
          std::memcpy(receive + rank * count, bytes.data(), bytes.size());
        }
      });
}

NcclResult FakeNccl::AllReduce(float* values, int64_t count, NcclComm* comm,
                               void* stream) {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->Call(
      comm, stream, values, count * sizeof(float),
      [values, count](const std::map<int, std::vector<char>>& all) {
        // From the last rank to the first: an order of its own, as a library.
        std::fill_n(values, count, 0.0f);
        for (auto it = all.rbegin(); it != all.rend(); ++it) {
          const float* row = reinterpret_cast<const float*>(it->second.data());
          for (int64_t i = 0; i < count; ++i) values[i] += row[i];
        }
      });
}

NcclResult FakeNccl::BroadcastBytes(char* bytes, int64_t count, NcclComm* comm,
                                    void* stream) {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->Call(comm, stream, bytes, count,
                     [bytes](const std::map<int, std::vector<char>>& all) {
                       std::memcpy(bytes, all.at(0).data(), all.at(0).size());
                     });
}

void FakeNccl::Abort(NcclComm* comm) {
  std::unique_lock<std::mutex> lock(impl_->mutex);
  impl_->changed.wait(lock, [this] {
    return !impl_->faults.abort_hangs || impl_->aborts_released;
  });
  comm->aborted = true;
  impl_->Pump();
  impl_->comms.erase(comm);
  delete comm;
  ++impl_->aborts;
}

void FakeNccl::Destroy(NcclComm* comm) {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->Pump();
  impl_->comms.erase(comm);
  delete comm;
  ++impl_->destroyed;
}

FakeDeviceQueue::FakeDeviceQueue(FakeNccl* nccl) : impl_(new Impl) {
  impl_->nccl = nccl;
  std::lock_guard<std::mutex> lock(nccl->impl_->mutex);
  nccl->impl_->queues.insert(impl_.get());
}

FakeDeviceQueue::~FakeDeviceQueue() {
  std::lock_guard<std::mutex> lock(impl_->nccl->impl_->mutex);
  impl_->nccl->impl_->queues.erase(impl_.get());
}

void FakeDeviceQueue::FailWith(absl::Status status) {
  std::lock_guard<std::mutex> lock(impl_->nccl->impl_->mutex);
  impl_->failure = std::move(status);
}

bool FakeDeviceQueue::Idle() {
  std::lock_guard<std::mutex> lock(impl_->nccl->impl_->mutex);
  impl_->nccl->impl_->Pump();
  return impl_->work.empty();
}

absl::StatusOr<std::unique_ptr<DeviceBuffer>> FakeDeviceQueue::Allocate(
    int64_t elements) {
  // Freed in stream order, as a caching allocator does.
  class Buffer final : public DeviceBuffer {
   public:
    Buffer(std::shared_ptr<Impl> queue, int64_t elements)
        : queue_(std::move(queue)),
          values_(std::make_shared<std::vector<float>>(elements, -777.0f)) {}
    ~Buffer() override {
      FakeNccl::Impl* nccl = queue_->nccl->impl_.get();
      std::lock_guard<std::mutex> lock(nccl->mutex);
      nccl->Push(queue_.get(), [values = std::move(values_)] { return true; });
    }
    float* data() override { return values_->data(); }

   private:
    const std::shared_ptr<Impl> queue_;
    std::shared_ptr<std::vector<float>> values_;
  };
  {
    std::lock_guard<std::mutex> lock(impl_->nccl->impl_->mutex);
    if (!impl_->failure.ok()) return impl_->failure;
  }
  return std::make_unique<Buffer>(impl_, elements);
}

absl::StatusOr<std::unique_ptr<DeviceMark>> FakeDeviceQueue::Mark() {
  class FakeMark final : public DeviceMark {
   public:
    FakeMark(std::shared_ptr<Impl> queue, uint64_t after)
        : queue_(std::move(queue)), after_(after) {}
    absl::StatusOr<bool> Passed() override {
      FakeNccl::Impl* nccl = queue_->nccl->impl_.get();
      std::lock_guard<std::mutex> lock(nccl->mutex);
      if (!queue_->failure.ok()) return queue_->failure;
      nccl->Pump();
      return queue_->run >= after_;
    }

   private:
    const std::shared_ptr<Impl> queue_;
    const uint64_t after_;
  };
  std::lock_guard<std::mutex> lock(impl_->nccl->impl_->mutex);
  if (!impl_->failure.ok()) return impl_->failure;
  return std::make_unique<FakeMark>(impl_, impl_->queued);
}

namespace {

template <typename Queue, typename Nccl, typename Fn>
absl::Status PushKernel(Queue* queue, Nccl* nccl, Fn kernel) {
  std::lock_guard<std::mutex> lock(nccl->mutex);
  if (!queue->failure.ok()) return queue->failure;
  nccl->Push(queue, [kernel = std::move(kernel)] {
    kernel();
    return true;
  });
  return absl::OkStatus();
}

}  // namespace

absl::Status FakeDeviceQueue::CopyIn(void* to, const void* from,
                                     int64_t bytes) {
  const char* begin = static_cast<const char*>(from);
  return PushKernel(impl_.get(), impl_->nccl->impl_.get(),
                    [to, copy = std::vector<char>(begin, begin + bytes)] {
                      std::memcpy(to, copy.data(), copy.size());
                    });
}

absl::Status FakeDeviceQueue::CopyOut(void* to, const void* from,
                                      int64_t bytes) {
  std::lock_guard<std::mutex> lock(impl_->nccl->impl_->mutex);
  if (!impl_->failure.ok()) return impl_->failure;
  impl_->nccl->impl_->Pump();
  if (!impl_->work.empty()) {
    return absl::InternalError("a copy to the host before its mark passed");
  }
  std::memcpy(to, from, bytes);
  return absl::OkStatus();
}

absl::Status FakeDeviceQueue::Pack(const ShardRows& shape, int rank,
                                   const float* rows, float* packed) {
  return PushKernel(impl_.get(), impl_->nccl->impl_.get(), [=] {
    for (int64_t k = 0; k < shape.per_rank(); ++k) {
      const int64_t s = k * shape.ranks + rank;
      if (s >= shape.shards) break;
      std::copy_n(rows + s * shape.length, shape.length,
                  packed + k * shape.length);
    }
  });
}

absl::Status FakeDeviceQueue::Unpack(const ShardRows& shape,
                                     const float* packed, float* rows) {
  return PushKernel(impl_.get(), impl_->nccl->impl_.get(), [=] {
    for (int64_t s = 0; s < shape.shards; ++s) {
      for (int64_t i = 0; i < shape.length; ++i) {
        rows[s * shape.length + i] = packed[PackedIndex(
            s, i, shape.ranks, shape.per_rank(), shape.length)];
      }
    }
  });
}

absl::Status FakeDeviceQueue::SumPacked(const ShardRows& shape,
                                        const float* packed, float* sum) {
  return PushKernel(impl_.get(), impl_->nccl->impl_.get(), [=] {
    for (int64_t i = 0; i < shape.length; ++i) {
      sum[i] = SumPackedColumn(packed, i, shape.shards, shape.ranks,
                               shape.per_rank(), shape.length);
    }
  });
}

absl::Status FakeDeviceQueue::SumOwned(const ShardRows& shape, int rank,
                                       const float* rows, float* sum) {
  return PushKernel(impl_.get(), impl_->nccl->impl_.get(), [=] {
    for (int64_t i = 0; i < shape.length; ++i) {
      sum[i] = SumOwnedColumn(rows, i, shape.shards, shape.ranks, rank,
                              shape.length);
    }
  });
}

}  // namespace dasm
