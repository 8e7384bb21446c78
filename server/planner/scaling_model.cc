#include "server/planner/scaling_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/planner/network_cost.h"
#include "server/planner/planner.h"
#include "server/planner/task_cost.h"

namespace dasm {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);
constexpr double kUpdateFlops = 6;
// Of rows that a path's matcher collects before it exchanges them.
constexpr int64_t kExchangeBytes = int64_t{8} << 20;
constexpr int64_t kCacheLine = 16;  // floats

int64_t Share(int64_t shards, int64_t ranks) {
  return (shards + ranks - 1) / ranks;
}

StepCall Sum(int64_t times, int64_t shards, int64_t length) {
  return {StepCall::Kind::kSum, times, shards, length};
}
StepCall Gather(int64_t times, int64_t shards, int64_t length) {
  return {StepCall::Kind::kGather, times, shards, length};
}
StepCall Training(int64_t times, int64_t shards, int64_t length) {
  return {StepCall::Kind::kSum, times, shards, length, /*training=*/true};
}
StepCall Poll() { return {StepCall::Kind::kPoll}; }

// Parameters whose gradients are compared.
int64_t Matched(Layers layers, const NetworkCost& net) {
  switch (layers) {
    case Layers::kConvolutions:
      return net.convolution_weights;
    case Layers::kWeights:
      return net.weights;
    case Layers::kAll:
      return net.parameters;
  }
  return 0;
}

// Payload that `rank` sends in one of the calls.
int64_t BytesSent(const StepCall& call, int ranks, bool fast, int rank) {
  switch (call.kind) {
    case StepCall::Kind::kSum:
      return SumBytesSent(call.shards, call.length, ranks, fast, call.first,
                          rank);
    case StepCall::Kind::kGather:
      return GatherBytesSent(call.shards, call.length, ranks, call.first, rank);
    case StepCall::Kind::kPoll:
      // The byte lies in the last rank's range, which tells the others.
      if (rank == 0) return ranks > 1 ? 1 : 0;
      return rank == ranks - 1 ? ranks - 2 : 0;
  }
  return 0;
}

// What the parts of a step take on the rank that has most of each.
struct StepSeconds {
  double match = 0;
  double train = 0;
  double redundant = 0;
  double bytes = 0;
  double latency = 0;
  bool at_once = false;  // matching and training

  double compute() const {
    return at_once ? std::max(match, train) : match + train;
  }
  double all() const { return compute() + redundant + bytes + latency; }
};

StepSeconds Predict(const StepWork& work, int ranks, bool trainer,
                    double flops_per_second, const Link& link) {
  const StepWork calls = trainer ? WithTrainer(work) : work;
  const auto match = static_cast<double>(
      work.match_steps * Share(work.match_shards, trainer ? ranks - 1 : ranks));
  const auto train = static_cast<double>(
      work.train_steps * Share(work.train_shards, trainer ? 1 : ranks));
  const double moved = trainer ? work.network_update_flops : 0;
  StepSeconds seconds;
  seconds.at_once = trainer;
  seconds.match = match * work.match_flops / flops_per_second;
  seconds.train = (train * work.train_flops + moved) / flops_per_second;
  seconds.redundant = (work.redundant_flops - moved) / flops_per_second;
  for (const StepCall& call : calls.calls) {
    // Ranks wait for the one that sends most.
    const int64_t bytes =
        std::max(BytesSent(call, ranks, work.fast, 0),
                 BytesSent(call, ranks, work.fast, call.first));
    seconds.bytes +=
        static_cast<double>(call.times * bytes) / link.bytes_per_second;
    if (ranks > 1) {
      seconds.latency +=
          static_cast<double>(call.times) * link.seconds_per_call;
    }
  }
  return seconds;
}

// Rows that `rank` brings.
int64_t RowsOf(int64_t shards, int ranks, int first, int rank) {
  const int64_t before = rank - first;  // owners
  return before < 0 || before >= shards ? 0
                                        : Share(shards - before, ranks - first);
}

}  // namespace

int64_t SumBytesSent(int64_t shards, int64_t length, int ranks, bool fast,
                     int first, int rank) {
  int64_t rows = RowsOf(shards, ranks, first, rank);
  if (fast) rows = std::min<int64_t>(rows, 1);
  const int64_t lines = Share(length, kCacheLine);
  const auto bound = [&](int64_t r) {
    return std::min(length, lines * r / ranks * kCacheLine);
  };
  const int64_t own = bound(rank + 1) - bound(rank);
  return kFloatBytes * (rows * (length - own) + (ranks - 1) * own);
}

int64_t GatherBytesSent(int64_t shards, int64_t length, int ranks, int first,
                        int rank) {
  return RowsOf(shards, ranks, first, rank) * kFloatBytes * length *
         (ranks - 1);
}

double StepWork::flops() const {
  return static_cast<double>(match_steps * match_shards) * match_flops +
         static_cast<double>(train_steps * train_shards) * train_flops +
         redundant_flops;
}

StepWork WorkOfStep(const DistillSegmentParameters& parameters,
                    const ResolvedDataset& dataset, bool deferred) {
  const GradientMatchingSpec& m = parameters.matching;
  const NetworkCost net =
      CostOf(parameters.network, dataset.channels, dataset.height,
             dataset.width, dataset.classes);
  const int64_t image =
      int64_t{dataset.channels} * dataset.height * dataset.width;
  const int64_t pixels = image * parameters.images_per_class;
  const int64_t synthetic = SyntheticPerClass(parameters);
  const int micro_batch = EffectiveMicroBatch(parameters);
  const int64_t slices =
      Share(std::max<int64_t>(m.real_batch, synthetic), micro_batch);
  StepWork work;
  const int64_t passes = int64_t{dataset.classes} * m.inits_per_step;
  work.match_shards = passes * slices;
  work.match_flops = MatchFlops(parameters, net) / static_cast<double>(slices);
  work.train_steps = int64_t{m.net_steps} * m.inits_per_step;
  const int group =
      parameters.network.norm == Norm::kBatch
          ? m.net_batch
          : std::min(parameters.execution.train_group, m.net_batch);
  work.train_shards = Share(m.net_batch, group);
  work.train_flops = 3.0 * net.forward_flops * group;
  work.network_update_flops =
      kUpdateFlops * static_cast<double>(work.train_steps * net.parameters);
  work.redundant_flops =
      work.network_update_flops +
      kUpdateFlops * static_cast<double>(pixels * dataset.classes);
  work.networks = m.inits_per_step;
  work.parameters = net.parameters + net.buffers;
  work.fast = parameters.fast_ranks > 0;
  const int64_t touched =
      image * std::min<int64_t>(parameters.images_per_class, m.synthetic_batch);
  work.calls = {Poll(), Training(work.train_steps, work.train_shards,
                                 net.parameters + net.buffers + 2)};
  if (slices > 1) {
    work.calls.push_back(Sum(passes, slices, 2 * Matched(m.layers, net)));
    work.calls.push_back(Sum(passes, Share(synthetic, micro_batch), touched));
  } else if (deferred) {
    work.calls.push_back(Gather(1, dataset.classes, 2));
  } else {
    work.calls.push_back(Gather(1, passes, touched + 1));
  }
  return work;
}

StepWork WorkOfStep(const MatchTrajectoriesParameters& parameters,
                    const ResolvedDataset& dataset) {
  const TrajectoryMatchingSpec& m = parameters.matching;
  const NetworkCost net =
      CostOf(parameters.network, dataset.channels, dataset.height,
             dataset.width, dataset.classes);
  const int64_t batch = StudentBatch(parameters, dataset.classes);
  const int64_t group = parameters.network.norm == Norm::kBatch
                            ? batch
                            : EffectiveMicroBatch(parameters, dataset.classes);
  const StudentFlops flops = StudentFlopsOf(m.estimator);
  const int64_t image =
      int64_t{dataset.channels} * dataset.height * dataset.width;
  StepWork work;
  work.path = true;
  work.redundant_flops =
      kUpdateFlops * static_cast<double>(2 * m.student_steps * net.parameters +
                                         int64_t{parameters.images_per_class} *
                                             dataset.classes * image);
  // An image, and its label logits where it has them.
  const int64_t row = image + (HasSoftLabels(m) ? dataset.classes : 0);
  if (m.trajectories_per_step > 1) {
    work.match_shards = m.trajectories_per_step;
    work.match_flops = net.forward_flops * (flops.forward + flops.backward) *
                       m.student_steps * static_cast<double>(batch);
    work.calls = {
        Poll(),
        Gather(1, work.match_shards,
               int64_t{parameters.images_per_class} * dataset.classes * row),
        // Doubles: loss, step size and a share of each layer.
        Gather(1, work.match_shards, 2 * (2 + net.tensors))};
    return work;
  }
  const int64_t steps = m.student_steps;
  work.match_steps = steps;
  work.match_shards = Share(batch, group);
  // Shards of equal size, since the last may be short.
  const double shard = net.forward_flops * static_cast<double>(batch) /
                       static_cast<double>(work.match_shards);
  work.match_flops = flops.backward * shard;
  work.train_steps = steps;
  work.train_shards = work.match_shards;
  work.train_flops = flops.forward * shard;
  work.parameters = net.parameters + net.buffers;
  work.fast = parameters.fast_ranks > 0;
  // The adjoint of a step, which the first one's and TESLA's do not go on with.
  const int64_t adjoints = m.estimator == Estimator::kTesla ? 0 : steps - 1;
  const int64_t together = std::clamp<int64_t>(
      Share(kExchangeBytes, batch * row * kFloatBytes), 1, steps);
  work.calls = {
      Poll(), Training(steps, work.train_shards, net.parameters + 1),
      Sum(adjoints, work.match_shards, net.parameters + 1),
      Sum(steps - adjoints, work.match_shards, 1),
      Gather(steps / together, work.match_shards, together * group * row)};
  if (const int64_t rest = steps % together; rest > 0) {
    work.calls.push_back(Gather(1, work.match_shards, rest * group * row));
  }
  if (m.labels == Labels::kTeacher) {
    const int64_t images =
        int64_t{parameters.images_per_class} * dataset.classes;
    const int64_t forward_group = parameters.execution.forward_group;
    work.calls.push_back(Gather(1, Share(images, forward_group),
                                forward_group * dataset.classes));
  }
  return work;
}

StepWork WithTrainer(const StepWork& work) {
  StepWork with = work;
  std::erase_if(with.calls, [](const StepCall& call) { return call.training; });
  for (StepCall& call : with.calls) {
    if (call.kind != StepCall::Kind::kPoll) call.first = 1;
  }
  if (work.train_steps > 0) {
    with.calls.push_back(
        Sum(1, 1, work.networks * work.parameters + work.train_steps));
  }
  return with;
}

int64_t StepBytesSent(const StepWork& work, int ranks, int rank) {
  int64_t bytes = 0;
  for (const StepCall& call : work.calls) {
    bytes += call.times * BytesSent(call, ranks, work.fast, rank);
  }
  return bytes;
}

Link NvLink() { return {"NVLink", 450e9, 10e-6}; }
Link Ethernet() { return {"100 Gbit/s", 12.5e9, 50e-6}; }

std::vector<ScalingRow> ModelScaling(const StepWork& work,
                                     const std::vector<int>& ranks,
                                     double flops_per_second,
                                     const std::vector<Link>& links,
                                     bool trainer) {
  std::vector<ScalingRow> rows;
  for (const int count : ranks) {
    const bool trains = trainer && count > 1;
    ScalingRow row;
    row.ranks = count;
    row.sent_bytes = trains ? StepBytesSent(WithTrainer(work), count, 1)
                            : StepBytesSent(work, count);
    for (const Link& link : links) {
      const StepSeconds one = Predict(work, 1, false, flops_per_second, link);
      const StepSeconds own =
          Predict(work, count, trains, flops_per_second, link);
      row.match_seconds = own.match;
      row.train_seconds = own.train;
      row.redundant_seconds = own.redundant;
      ScalingRow::OnLink on;
      on.link = link.name;
      on.exchange_seconds = own.bytes + own.latency;
      on.speedup = one.all() / own.all();
      if (count > 1 && !work.path) {
        on.trainer_speedup =
            one.all() /
            Predict(work, count, true, flops_per_second, link).all();
      }
      // What each part takes beyond its share of the ranks; of two at once only
      // the longer counts.
      double match = own.match - one.match / count;
      double train = own.train - one.train / count;
      if (own.at_once) {
        const double waits = own.compute() - one.compute() / count;
        match = own.match >= own.train ? waits : 0;
        train = own.match >= own.train ? 0 : waits;
      }
      const std::pair<double, const char*> losses[] = {
          {match, "match shards"},
          {train, "train shards"},
          {own.redundant - one.redundant / count, "redundant work"},
          {own.bytes, "bytes"},
          {own.latency, "latency"}};
      const auto* worst = std::max_element(
          std::begin(losses), std::end(losses),
          [](const auto& a, const auto& b) { return a.first < b.first; });
      on.limit = on.speedup > 0.95 * count ? "none" : worst->second;
      row.links.push_back(std::move(on));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string TrainerAdvice(const StepWork& work, int ranks, bool trainer,
                          double flops_per_second,
                          const std::vector<Link>& links) {
  constexpr double kWorthIt = 1.05;
  if (ranks < 2 || work.path) return "";
  std::vector<std::string> faster;
  for (const Link& link : links) {
    const double gain =
        Predict(work, ranks, trainer, flops_per_second, link).all() /
        Predict(work, ranks, !trainer, flops_per_second, link).all();
    if (gain >= kWorthIt) {
      faster.push_back(
          absl::StrFormat("%.2f times as fast over %s", gain, link.name));
    }
  }
  if (faster.empty() || (trainer && faster.size() < links.size())) return "";
  return absl::StrFormat(
      "resources.trainer_rank: %s is predicted to make a step of %d ranks %s",
      trainer ? "false" : "true", ranks, absl::StrJoin(faster, " and "));
}

std::vector<std::string> RankWarnings(const StepWork& work, int ranks,
                                      bool trainer) {
  std::vector<std::string> warnings;
  const std::string who =
      trainer ? absl::StrCat("of ", ranks, " ranks ", ranks - 1, " match and ")
              : absl::StrCat(ranks, " ranks ");
  if (trainer) --ranks;
  if (ranks > work.match_shards) {
    warnings.push_back(absl::StrCat(
        "resources.ranks: ", who, "share ", work.match_shards,
        work.path ? " shards of a student's step (its batch in groups of "
                    "execution.micro_batch or train_group images; or "
                    "trajectories_per_step), so "
                  : " shards of a matching step (classes x inits_per_step x "
                    "micro-batches), so ",
        ranks - work.match_shards,
        work.path
            ? " of them never match; use fewer or set execution.micro_batch"
            : " of them never match; use fewer, raise inits_per_step or set "
              "execution.micro_batch"));
  } else if (work.match_shards % ranks != 0 &&
             Share(work.match_shards, ranks) * ranks * 4 >=
                 work.match_shards * 5) {
    warnings.push_back(absl::StrCat(
        "resources.ranks: ", who, "share ", work.match_shards,
        " shards of a matching step unevenly: some wait for those with ",
        Share(work.match_shards, ranks)));
  }
  return warnings;
}

}  // namespace dasm
