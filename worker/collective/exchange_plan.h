// What the processes of a gang send each other in one call: pure arithmetic
// that every process does alike.
//
// Each process reduces a range of the elements. In a sum it sends to every
// other process the part of its rows that lies in that one's range (ROWS), adds
// up what it got for its own range in the agreed order, and sends the sums to
// everyone (SUMS). A broadcast is a sum of one row that only process 0 has; in
// a gather everyone's range is everything and nothing is added. Ranges go in
// blocks, so that adding begins before the last row has come.
//
// With P processes, n elements of e bytes, r(p) the rows that process p brings
// (ordered: its shards; fast: 1 where it has any; none where its ranks are all
// before the call's `first`) and m(p) the size of its
// range (n / P, in whole cache lines), process p sends
//   SumShards     e (r(p) (n - m(p)) + (P - 1) m(p))   bytes
//   GatherShards  e r(p) n (P - 1)
//   Broadcast     p = 0: n + (P - 2) m(0);  p > 0: (P - 2) m(p);  P = 1: 0
//   Barrier       0
#ifndef DASM_WORKER_COLLECTIVE_EXCHANGE_PLAN_H_
#define DASM_WORKER_COLLECTIVE_EXCHANGE_PLAN_H_

#include <cstdint>
#include <vector>

#include "worker/collective/collective.h"
#include "worker/collective/reduction.h"
#include "worker/collective/thread_meeting.h"

namespace dasm {

// Which ranks, and so which shards, a process holds.
class GangLayout {
 public:
  // `threads`: ranks of each process, all >= 1.
  explicit GangLayout(const std::vector<int>& threads);

  int processes() const { return static_cast<int>(first_rank_.size()) - 1; }
  int ranks() const { return first_rank_.back(); }
  int first_rank(int process) const { return first_rank_[process]; }
  int threads(int process) const {
    return first_rank_[process + 1] - first_rank_[process];
  }
  int process_of_shard(int64_t shard, int first = 0) const {
    return process_of_rank_[OwnerOfShard(shard, ranks(), first)];
  }
  // How many of shards 0 .. shards - 1 `process` holds.
  int64_t shards_of(int process, int64_t shards, int first = 0) const;

 private:
  std::vector<int> first_rank_;  // and the number of ranks at the end
  std::vector<int> process_of_rank_;
};

class ExchangePlan {
 public:
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
    int64_t size() const { return end - begin; }
  };

  // `layout` is copied. `length` elements a row; a broadcast has rows of bytes.
  ExchangePlan(const GangLayout& layout, Reduction reduction,
               Operation operation, int64_t shards, int64_t length,
               int first = 0);

  int element_bytes() const { return element_bytes_; }
  // Rows that `process` brings.
  int64_t rows(int process) const { return rows_[process]; }
  // What `process` adds up.
  Range range(int process) const;
  // The elements of the rows that `from` sends to `to`.
  Range RowRange(int from, int to) const;
  // ROWS messages: at least one, which may be empty.
  int64_t RowBlocks(int from, int to) const;
  int64_t SumBlocks(int from, int to) const;
  // The elements of block `block` of `range`.
  Range Block(Range range, int64_t block) const;
  int64_t Blocks(Range range) const;
  // Bytes of payload that `process` sends: the formula above.
  int64_t PayloadBytesSent(int process) const;

 private:
  const Operation operation_;
  const int processes_;
  const int64_t length_;
  const int element_bytes_;
  std::vector<int64_t> rows_;
  int64_t block_length_;
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_EXCHANGE_PLAN_H_
