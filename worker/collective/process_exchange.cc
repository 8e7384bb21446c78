#include "worker/collective/process_exchange.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/collective/checksum.h"
#include "worker/collective/frame.h"
#include "worker/collective/shard_sum.h"

namespace dasm {
namespace {

using worker::v1::CollectiveData;

// Blocks of rows of a peer that is ahead of others.
constexpr size_t kMaxAhead = 16;

CollectiveData::Operation ToProto(Operation operation) {
  switch (operation) {
    case Operation::kSumShards:
      return CollectiveData::SUM_SHARDS;
    case Operation::kGatherShards:
      return CollectiveData::GATHER_SHARDS;
    case Operation::kBroadcast:
      return CollectiveData::BROADCAST;
    case Operation::kBarrier:
      return CollectiveData::BARRIER;
  }
  return CollectiveData::OPERATION_UNSPECIFIED;
}

std::string DescribeData(const CollectiveData& data) {
  Operation operation = Operation::kBarrier;
  for (Operation each : {Operation::kSumShards, Operation::kGatherShards,
                         Operation::kBroadcast}) {
    if (ToProto(each) == data.operation()) operation = each;
  }
  return absl::StrCat(
      Describe(operation, data.shards(), data.length(), data.first()), " (#",
      data.call(), ")");
}

}  // namespace

std::string RanksOf(const GangLayout& layout, int process) {
  const int first = layout.first_rank(process);
  return layout.threads(process) == 1
             ? absl::StrCat("rank ", first)
             : absl::StrCat("ranks ", first, " to ",
                            layout.first_rank(process + 1) - 1);
}

// Progress on all links at once: whatever has come is taken, whatever can be
// added is added, whatever a link has room for is sent; then it waits for news.
//
// No deadlock: rows depend on nothing but room, a peer whose rows are missing
// for the next block is always listened to, and sums depend on rows only.
class ProcessExchange::Call {
 public:
  Call(ProcessExchange* exchange, const std::vector<CollectiveCall>& calls,
       uint64_t number, absl::Duration timeout)
      : x_(*exchange),
        me_(exchange->options_.process),
        call_(calls.front()),
        number_(number),
        timeout_(timeout),
        plan_(x_.layout_, x_.options_.reduction, call_.operation, call_.shards,
              call_.length, call_.first),
        result_(call_.operation == Operation::kBroadcast
                    ? call_.bytes
                    : reinterpret_cast<char*>(call_.result)),
        my_blocks_(plan_.Blocks(plan_.range(me_))),
        sum_frames_(my_blocks_) {
    const int processes = x_.layout_.processes();
    peers_.resize(processes);
    for (int p = 0; p < processes; ++p) {
      if (p == me_) continue;
      peers_[p].rows_expected = plan_.RowBlocks(p, me_);
      peers_[p].sums_expected = plan_.SumBlocks(p, me_);
      peers_[p].rows_to_send = plan_.RowBlocks(me_, p);
      peers_[p].sums_to_send = plan_.SumBlocks(me_, p);
    }
    if (call_.operation == Operation::kSumShards ||
        call_.operation == Operation::kGatherShards) {
      for (int64_t s = 0; s < call_.shards; ++s) {
        if (ProcessOf(s) != me_) continue;
        const int rank = OwnerOfShard(s, x_.layout_.ranks(), call_.first);
        const CollectiveCall& owner = calls[rank - x_.layout_.first_rank(me_)];
        const float* rows = call_.operation == Operation::kSumShards
                                ? owner.rows
                                : owner.result;
        my_rows_.push_back(rows + s * call_.length);
      }
    }
    if (call_.operation == Operation::kBroadcast && me_ == 0) {
      added_ = my_blocks_;
    }
  }

  absl::Status Run() {
    const auto deadline =
        std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout_);
    for (;;) {
      uint64_t seen;
      {
        std::lock_guard<std::mutex> lock(x_.events_->mutex);
        if (!x_.events_->failure.ok()) return x_.events_->failure;
        seen = x_.events_->version;
      }
      bool progress = false;
      for (int p = 0; p < processes(); ++p) {
        if (p == me_) continue;
        DASM_RETURN_IF_ERROR(Receive(p, &progress));
        Send(p, &progress);
      }
      DASM_RETURN_IF_ERROR(Add(&progress));
      if (Done()) return absl::OkStatus();
      if (progress) continue;
      for (int p = 0; p < processes(); ++p) {
        if (p != me_ && !peers_[p].done()) {
          DASM_RETURN_IF_ERROR(x_.links_[p]->ended());
        }
      }
      std::unique_lock<std::mutex> lock(x_.events_->mutex);
      if (!x_.events_->changed.wait_until(
              lock, deadline, [&] { return x_.events_->version != seen; })) {
        lock.unlock();
        return Late();
      }
    }
  }

 private:
  struct Peer {
    int64_t rows_expected = 0;
    int64_t sums_expected = 0;
    int64_t rows_received = 0;
    int64_t sums_received = 0;
    int64_t rows_to_send = 0;
    int64_t sums_to_send = 0;
    int64_t rows_sent = 0;
    int64_t sums_sent = 0;
    // Blocks of rows that wait for those of other peers.
    std::deque<ReceivedFrame> rows;

    bool received() const {
      return rows_received == rows_expected && sums_received == sums_expected;
    }
    bool done() const {
      return received() && rows_sent == rows_to_send &&
             sums_sent == sums_to_send;
    }
  };

  int processes() const { return x_.layout_.processes(); }
  int ProcessOf(int64_t shard) const {
    return x_.layout_.process_of_shard(shard, call_.first);
  }
  bool Done() const {
    return added_ == my_blocks_ &&
           std::all_of(peers_.begin(), peers_.end(),
                       [](const Peer& peer) { return peer.done(); });
  }
  std::string Name() const {
    return number_ == kJoinCall
               ? "Join"
               : CallName(call_.operation, static_cast<int64_t>(number_));
  }

  absl::Status Late() const {
    std::vector<int> missing;
    std::string late;
    for (int p = 0; p < processes(); ++p) {
      if (p == me_ || peers_[p].done()) continue;
      if (late.empty()) late = RanksOf(x_.layout_, p);
      if (peers_[p].rows_received > 0) continue;
      for (int t = 0; t < x_.layout_.threads(p); ++t) {
        missing.push_back(x_.layout_.first_rank(p) + t);
      }
    }
    if (!missing.empty()) return DidNotCome(missing, Name(), timeout_);
    return CollectiveError(absl::DeadlineExceededError(
        absl::StrCat(late, " did not finish ", Name(), " within ",
                     absl::FormatDuration(timeout_))));
  }

  absl::Status Receive(int p, bool* progress) {
    Peer& peer = peers_[p];
    while (!peer.received() && peer.rows.size() < kMaxAhead) {
      std::optional<ReceivedFrame> frame = x_.links_[p]->Take();
      if (!frame.has_value()) break;
      *progress = true;
      DASM_RETURN_IF_ERROR(Accept(p, *std::move(frame)));
    }
    return absl::OkStatus();
  }

  absl::Status Accept(int p, ReceivedFrame frame) {
    if (frame.header.has_abort()) return AbortOf(frame.header.abort());
    const CollectiveData& data = frame.header.data();
    if (data.call() != number_ ||
        data.operation() != ToProto(call_.operation) ||
        data.shards() != call_.shards || data.length() != call_.length ||
        data.first() != call_.first) {
      CollectiveData mine;
      Fill(&mine);
      // In rank order, so that all sides say the same.
      const bool first = me_ < p;
      const std::string names[2] = {DescribeData(first ? mine : data),
                                    DescribeData(first ? data : mine)};
      return DifferentCalls(x_.layout_.first_rank(std::min(me_, p)), names[0],
                            x_.layout_.first_rank(std::max(me_, p)), names[1]);
    }
    Peer& peer = peers_[p];
    const bool is_rows = data.part() == CollectiveData::ROWS;
    int64_t& received = is_rows ? peer.rows_received : peer.sums_received;
    const ExchangePlan::Range block = plan_.Block(
        is_rows ? plan_.RowRange(p, me_) : plan_.range(p), data.block());
    const int64_t rows = is_rows ? plan_.rows(p) : 1;
    if (data.block() != received ||
        received == (is_rows ? peer.rows_expected : peer.sums_expected) ||
        frame.payload_size != rows * block.size() * plan_.element_bytes()) {
      return CollectiveError(absl::InternalError(
          absl::StrCat(RanksOf(x_.layout_, p), " sent ", frame.payload_size,
                       " bytes as part ", data.part(), " block ", data.block(),
                       " of ", Name(),
                       ", which does not fit; all ranks of a "
                       "gang must run the same version")));
    }
    ++received;
    if (frame.payload_size == 0) return absl::OkStatus();
    if (!is_rows || call_.operation == Operation::kBroadcast) {
      if (is_rows) ++added_;
      return Copy(p, frame, result_ + block.begin * plan_.element_bytes());
    }
    if (call_.operation == Operation::kSumShards) {
      peer.rows.push_back(std::move(frame));
      return absl::OkStatus();
    }
    return Scatter(p, frame, block);
  }

  // The payload to `to`, checked.
  absl::Status Copy(int p, const ReceivedFrame& frame, char* to) const {
    const absl::Span<char> bytes(to, frame.payload_size);
    CopyPayload(frame, bytes);
    if (Checksum(bytes) == frame.header.data().checksum()) {
      return absl::OkStatus();
    }
    return CollectiveError(absl::DataLossError(
        absl::StrCat("what ", RanksOf(x_.layout_, p), " sent in ", Name(),
                     " arrived with another checksum")));
  }

  // A block of a gather: rows of `p` to where they belong.
  absl::Status Scatter(int p, const ReceivedFrame& frame,
                       ExchangePlan::Range block) {
    x_.staging_.resize(frame.payload_size / sizeof(float));
    DASM_RETURN_IF_ERROR(
        Copy(p, frame, reinterpret_cast<char*>(x_.staging_.data())));
    const float* row = x_.staging_.data();
    for (int64_t s = 0; s < call_.shards; ++s) {
      if (ProcessOf(s) != p) continue;
      std::copy(row, row + block.size(),
                call_.result + s * call_.length + block.begin);
      row += block.size();
    }
    return absl::OkStatus();
  }

  // Adds the blocks for which everybody's rows are here.
  absl::Status Add(bool* progress) {
    if (call_.operation != Operation::kSumShards) return absl::OkStatus();
    while (added_ < my_blocks_) {
      for (int p = 0; p < processes(); ++p) {
        if (p != me_ && plan_.rows(p) > 0 && peers_[p].rows.empty()) {
          return absl::OkStatus();
        }
      }
      *progress = true;
      DASM_RETURN_IF_ERROR(AddBlock(plan_.Block(plan_.range(me_), added_)));
      ++added_;
    }
    return absl::OkStatus();
  }

  absl::Status AddBlock(ExchangePlan::Range block) {
    const int64_t size = block.size();
    const bool fast = x_.options_.reduction == Reduction::kFast;
    int64_t staged = fast && !my_rows_.empty() ? 1 : 0;
    for (int p = 0; p < processes(); ++p) {
      if (p != me_) staged += plan_.rows(p);
    }
    x_.staging_.resize(staged * size);
    // What is added, by process; each process's rows in shard order.
    std::vector<std::vector<const float*>> rows(processes());
    float* free = x_.staging_.data();
    for (int p = 0; p < processes(); ++p) {
      if (p == me_) {
        if (fast && !my_rows_.empty()) {
          AddMine(block, free);
          rows[p].push_back(free);
          free += size;
        } else {
          for (const float* row : my_rows_)
            rows[p].push_back(row + block.begin);
        }
        continue;
      }
      if (plan_.rows(p) == 0) continue;
      const ReceivedFrame frame = std::move(peers_[p].rows.front());
      peers_[p].rows.pop_front();
      DASM_RETURN_IF_ERROR(Copy(p, frame, reinterpret_cast<char*>(free)));
      for (int64_t row = 0; row < plan_.rows(p); ++row, free += size) {
        rows[p].push_back(free);
      }
    }
    std::vector<const float*> in_order;
    if (fast) {
      for (const auto& partial : rows) {
        in_order.insert(in_order.end(), partial.begin(), partial.end());
      }
    } else {
      std::vector<size_t> next(processes(), 0);
      for (int64_t s = 0; s < call_.shards; ++s) {
        const int p = ProcessOf(s);
        in_order.push_back(rows[p][next[p]++]);
      }
    }
    SumShardRange([&](int64_t i) { return in_order[i]; },
                  static_cast<int64_t>(in_order.size()), 0, size,
                  call_.result + block.begin);
    return absl::OkStatus();
  }

  // This process's shards, added, to `to`.
  void AddMine(ExchangePlan::Range block, float* to) const {
    SumShardRange([&](int64_t i) { return my_rows_[i] + block.begin; },
                  static_cast<int64_t>(my_rows_.size()), 0, block.size(), to);
  }

  void Send(int p, bool* progress) {
    Peer& peer = peers_[p];
    PeerLink* const link = x_.links_[p];
    while (!(peer.rows_sent == peer.rows_to_send &&
             peer.sums_sent == peer.sums_to_send) &&
           link->HasRoom()) {
      // Every call begins with rows. After that sums first: peers wait for
      // them.
      if (peer.rows_sent > 0 && peer.sums_sent < peer.sums_to_send &&
          peer.sums_sent < added_) {
        SendFrame(link, SumFrame(peer.sums_sent++));
      } else if (peer.rows_sent < peer.rows_to_send) {
        SendFrame(link, RowFrame(p, peer.rows_sent++));
      } else {
        return;
      }
      *progress = true;
    }
  }

  struct Outgoing {
    grpc::ByteBuffer frame;
    int64_t payload_size = 0;
  };

  void SendFrame(PeerLink* link, const Outgoing& outgoing) {
    x_.payload_bytes_sent_ += outgoing.payload_size;
    link->Send(outgoing.frame);
  }

  // The same for every peer.
  const Outgoing& SumFrame(int64_t block) {
    Outgoing& kept = sum_frames_[block];
    if (!kept.frame.Valid()) {
      const ExchangePlan::Range range = plan_.Block(plan_.range(me_), block);
      const int64_t bytes = range.size() * plan_.element_bytes();
      kept = MakeFrame(CollectiveData::SUMS, block, bytes, [&](char* to) {
        std::memcpy(to, result_ + range.begin * plan_.element_bytes(), bytes);
      });
    }
    return kept;
  }

  Outgoing RowFrame(int p, int64_t block) {
    const ExchangePlan::Range range =
        plan_.Block(plan_.RowRange(me_, p), block);
    const int64_t row_bytes = range.size() * plan_.element_bytes();
    return MakeFrame(
        CollectiveData::ROWS, block, plan_.rows(me_) * row_bytes,
        [&](char* to) {
          if (call_.operation == Operation::kBroadcast) {
            std::memcpy(to, call_.bytes + range.begin, row_bytes);
          } else if (static_cast<int64_t>(my_rows_.size()) != plan_.rows(me_)) {
            AddMine(range, reinterpret_cast<float*>(to));
          } else {
            for (const float* row : my_rows_) {
              std::memcpy(to, row + range.begin, row_bytes);
              to += row_bytes;
            }
          }
        });
  }

  template <typename FillPayload>
  Outgoing MakeFrame(CollectiveData::Part part, int64_t block, int64_t size,
                     const FillPayload& fill) {
    worker::v1::FrameHeader header;
    CollectiveData* data = header.mutable_data();
    Fill(data);
    data->set_part(part);
    data->set_block(block);
    if (size == 0) return {EncodeFrame(header), 0};
    const grpc::Slice payload = MakePayload(size, [&](char* to) {
      fill(to);
      data->set_checksum(Checksum({to, static_cast<size_t>(size)}));
      if (x_.options_.corrupt) {
        x_.options_.corrupt({to, static_cast<size_t>(size)});
      }
    });
    return {EncodeFrame(header, payload), size};
  }

  void Fill(CollectiveData* data) const {
    data->set_call(number_);
    data->set_operation(ToProto(call_.operation));
    data->set_shards(call_.shards);
    data->set_length(call_.length);
    data->set_first(call_.first);
  }

  ProcessExchange& x_;
  const int me_;
  const CollectiveCall call_;
  const uint64_t number_;
  const absl::Duration timeout_;
  const ExchangePlan plan_;
  char* const result_;
  std::vector<const float*> my_rows_;  // in shard order
  const int64_t my_blocks_;            // of this process's range
  int64_t added_ = 0;                  // blocks whose sums are in result_
  std::vector<Outgoing> sum_frames_;
  std::vector<Peer> peers_;
};

ProcessExchange::ProcessExchange(const GangLayout& layout, Options options,
                                 LinkEvents* events,
                                 std::vector<PeerLink*> links)
    : layout_(layout),
      options_(std::move(options)),
      events_(events),
      links_(std::move(links)) {}

absl::Status ProcessExchange::Run(const std::vector<CollectiveCall>& calls,
                                  uint64_t number, absl::Duration timeout) {
  return Call(this, calls, number, timeout).Run();
}

}  // namespace dasm
