#include "worker/collective/exchange_plan.h"

#include <algorithm>

namespace dasm {
namespace {

// Of a message's payload: large enough that gRPC's work for a message and the
// threads it wakes do not count (half of it costs a third of the speed on a
// busy machine), small enough to be in the second-level cache when it is added.
constexpr int64_t kBlockBytes = 512 << 10;
// Elements of a cache line.
constexpr int64_t kLine = 16;

}  // namespace

GangLayout::GangLayout(const std::vector<int>& threads) : first_rank_{0} {
  for (int count : threads) {
    process_of_rank_.insert(process_of_rank_.end(), count, processes());
    first_rank_.push_back(first_rank_.back() + count);
  }
}

int64_t GangLayout::shards_of(int process, int64_t shards, int first) const {
  // Of the ranks that own shards, this process's.
  const int64_t begin = std::max(0, first_rank(process) - first);
  const int64_t own = std::max(0, first_rank(process + 1) - first) - begin;
  const int64_t owners = ranks() - first;
  return shards / owners * own +
         std::clamp<int64_t>(shards % owners - begin, 0, own);
}

ExchangePlan::ExchangePlan(const GangLayout& layout, Reduction reduction,
                           Operation operation, int64_t shards, int64_t length,
                           int first)
    : operation_(operation),
      processes_(layout.processes()),
      length_(operation == Operation::kBarrier ? 0 : length),
      element_bytes_(operation == Operation::kBroadcast ? 1 : sizeof(float)) {
  for (int p = 0; p < processes_; ++p) {
    int64_t rows = layout.shards_of(p, shards, first);
    if (operation == Operation::kSumShards && reduction == Reduction::kFast) {
      rows = std::min<int64_t>(rows, 1);
    }
    if (operation == Operation::kBroadcast) rows = p == 0 ? 1 : 0;
    if (operation == Operation::kBarrier) rows = 0;
    rows_.push_back(rows);
  }
  const int64_t most =
      std::max<int64_t>(1, *std::max_element(rows_.begin(), rows_.end()));
  block_length_ =
      std::max(kLine, kBlockBytes / (element_bytes_ * most) / kLine * kLine);
}

ExchangePlan::Range ExchangePlan::range(int process) const {
  if (operation_ == Operation::kGatherShards) return {0, 0};
  const int64_t lines = (length_ + kLine - 1) / kLine;
  return {std::min(length_, lines * process / processes_ * kLine),
          std::min(length_, lines * (process + 1) / processes_ * kLine)};
}

ExchangePlan::Range ExchangePlan::RowRange(int from, int to) const {
  if (rows_[from] == 0) return {0, 0};
  return operation_ == Operation::kGatherShards ? Range{0, length_} : range(to);
}

int64_t ExchangePlan::RowBlocks(int from, int to) const {
  return std::max<int64_t>(1, Blocks(RowRange(from, to)));
}

int64_t ExchangePlan::SumBlocks(int from, int to) const {
  if (operation_ == Operation::kBroadcast && to == 0) return 0;
  return Blocks(range(from));
}

ExchangePlan::Range ExchangePlan::Block(Range range, int64_t block) const {
  const int64_t begin = range.begin + block * block_length_;
  return {std::min(range.end, begin),
          std::min(range.end, begin + block_length_)};
}

int64_t ExchangePlan::Blocks(Range range) const {
  return (range.size() + block_length_ - 1) / block_length_;
}

int64_t ExchangePlan::PayloadBytesSent(int process) const {
  const int64_t others = processes_ - 1;
  const int64_t mine = range(process).size();
  switch (operation_) {
    case Operation::kSumShards:
      return element_bytes_ *
             (rows_[process] * (length_ - mine) + others * mine);
    case Operation::kGatherShards:
      return element_bytes_ * rows_[process] * length_ * others;
    case Operation::kBroadcast:
      if (others == 0) return 0;
      return process == 0 ? length_ - mine + others * mine
                          : (others - 1) * mine;
    case Operation::kBarrier:
      return 0;
  }
  return 0;
}

}  // namespace dasm
