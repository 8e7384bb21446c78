// A Collective that misbehaves on purpose at one call: for tests of what a gang
// does about it.
#ifndef DASM_WORKER_COLLECTIVE_FAULTY_COLLECTIVE_H_
#define DASM_WORKER_COLLECTIVE_FAULTY_COLLECTIVE_H_

#include <atomic>
#include <bit>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/collective/collective.h"

namespace dasm {

struct CollectiveFault {
  enum class Kind {
    kNone,
    kHang,     // does not come before Release() or Abort()
    kAbort,    // aborts the gang and fails
    kNan,      // brings a NaN: first element of this rank's first shard
    kSlow,     // calls `wait`, then comes
    kCorrupt,  // gets one wrong bit, on this rank only
  };
  Kind kind = Kind::kNone;
  int64_t at_call = 0;  // the how many-th call of this rank, from 0
  std::function<void()> wait;
};

// Borrows `inner`. Threads as Collective; Release() from any.
class FaultyCollective final : public Collective {
 public:
  FaultyCollective(Collective* inner, CollectiveFault fault)
      : inner_(inner), fault_(std::move(fault)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Memory memory() const override { return inner_->memory(); }

  absl::Status Broadcast(absl::Span<char> bytes) override {
    const Kind kind = Next();
    absl::Status status = inner_->Broadcast(bytes);
    if (status.ok() && kind == Kind::kCorrupt && !bytes.empty()) bytes[0] ^= 1;
    return status;
  }
  absl::Status Barrier() override {
    Next();
    return inner_->Barrier();
  }
  void Abort(absl::Status why) override {
    inner_->Abort(std::move(why));
    Release();
  }
  // Ends a hang.
  void Release() {
    released_.store(true);
    released_.notify_all();
  }

 private:
  using Kind = CollectiveFault::Kind;

  absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                           absl::Span<float> sum, int first) override {
    const Kind kind = Next();
    const int own = rank() - first;
    std::vector<float> changed;
    if (kind == Kind::kNan && own >= 0 && own < shards) {
      changed.assign(rows.begin(), rows.end());
      changed[own * sum.size()] = std::numeric_limits<float>::quiet_NaN();
      rows = changed;
    }
    return Finish(kind, inner_->SumShards(rows, shards, sum, first), sum);
  }
  absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                              int first) override {
    const Kind kind = Next();
    const int own = rank() - first;
    if (kind == Kind::kNan && own >= 0 && own < shards) {
      rows[own * (rows.size() / shards)] =
          std::numeric_limits<float>::quiet_NaN();
    }
    return Finish(kind, inner_->GatherShards(rows, shards, first), rows);
  }

  Kind Next() {
    if (calls_++ != fault_.at_call) return Kind::kNone;
    switch (fault_.kind) {
      case Kind::kHang:
        released_.wait(false);
        break;
      case Kind::kSlow:
        fault_.wait();
        break;
      case Kind::kAbort:
        inner_->Abort(absl::UnavailableError("injected abort"));
        break;
      case Kind::kNone:
      case Kind::kNan:
      case Kind::kCorrupt:
        break;
    }
    return fault_.kind;
  }
  static absl::Status Finish(Kind kind, absl::Status status,
                             absl::Span<float> result) {
    if (status.ok() && kind == Kind::kCorrupt && !result.empty()) {
      result[0] = std::bit_cast<float>(std::bit_cast<uint32_t>(result[0]) ^ 1u);
    }
    return status;
  }

  Collective* const inner_;
  const CollectiveFault fault_;
  int64_t calls_ = 0;
  std::atomic<bool> released_ = false;
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_FAULTY_COLLECTIVE_H_
