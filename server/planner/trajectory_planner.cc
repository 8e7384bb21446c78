#include "server/planner/trajectory_planner.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/planner/pool_planner.h"
#include "server/planner/scaling_model.h"
#include "server/planner/task_cost.h"

namespace dasm {
namespace {

// Bytes that are worth a word: at the default interval of a minute 17 MB/s.
constexpr int64_t kLargeCheckpoint = 1'000'000'000;

// Without what has no say: equal trainings have equal keys.
ExpertTraining Normalized(ExpertTraining training) {
  const ExpertTraining none;
  if (training.optimizer == ExpertOptimizer::kSgd) {
    training.gsam_rho = none.gsam_rho;
    training.gsam_alpha = none.gsam_alpha;
  }
  if (!training.schedule.enabled) training.schedule = none.schedule;
  return training;
}

// The same; `init` is the segment's.
TrajectoryMatchingSpec Normalized(TrajectoryMatchingSpec m, Init init) {
  const TrajectoryMatchingSpec none;
  const bool fixed = m.labels == Labels::kSoftFixed;
  const bool learned = m.labels == Labels::kSoftLearned;
  if (!fixed && !learned) {
    m.label_experts = none.label_experts;
    if (init != Init::kCorrect) m.label_epoch = none.label_epoch;
  }
  if (!learned) {
    m.label_learning_rate = none.label_learning_rate;
    m.label_momentum = none.label_momentum;
  }
  if (m.find_range) {
    m.start_epoch_min = none.start_epoch_min;
    m.start_epoch_initial = none.start_epoch_initial;
    m.start_epoch_max = none.start_epoch_max;
  } else if (m.growth_iterations == 0 ||
             m.start_epoch_initial >= m.start_epoch_max) {
    m.growth_iterations = 0;
    m.start_epoch_initial = m.start_epoch_max;
  }
  if (m.mask_from >= m.mask_to) m.mask_from = m.mask_to = 0;
  if (m.snapshot_interval >= m.iterations) m.snapshot_interval = 0;
  return m;
}

class TrajectoryPlanner {
 public:
  explicit TrajectoryPlanner(GraphBuilder* builder)
      : builder_(*builder), spec_(builder->spec()) {}

  void Plan() {
    if (spec_.experts.training.schedule.enabled) AddRanking();
    if (builder_.has_pools() && spec_.sequence.reference_steps > 0) {
      AddReference(&builder_);
    }
    for (int k = 1; k <= builder_.segments(); ++k) {
      if (Pooled(k)) AddPool(k, &builder_);
      AddExperts(k);
      if (spec_.trajectory->find_range) AddRange(k);
      AddSegment(k);
    }
    WarnOfLargeCheckpoints();
  }

 private:
  void WarnOfLargeCheckpoints() const {
    const int last = builder_.segments();
    const int64_t bytes =
        SnapshotBytes({.images_per_class = spec_.sequence.segments[last - 1],
                       .matching = MatchingOf(last)},
                      builder_.dataset());
    if (bytes < kLargeCheckpoint) return;
    builder_.graph().warnings.push_back(absl::StrFormat(
        "matching.trajectory.snapshot_interval: checkpoints hold the snapshots "
        "taken so far, %.1f GB at the end of the run; a larger interval, or a "
        "larger resources.checkpoint_interval, writes less",
        static_cast<double>(bytes) / 1e9));
  }

  // The spec's values with those that segment k has of its own.
  TrajectoryMatchingSpec MatchingOf(int k) const {
    TrajectoryMatchingSpec m = *spec_.trajectory;
    if (!spec_.sequence.stages.empty()) {
      const StageSpec& stage = spec_.sequence.stages[k - 1];
      m.iterations = stage.iterations;
      m.student_steps = stage.student_steps;
      m.matched_epochs = stage.matched_epochs;
      m.start_epoch_min = stage.start_epoch_min;
      m.start_epoch_initial = stage.start_epoch_initial;
      m.start_epoch_max = stage.start_epoch_max;
      m.growth_iterations = stage.growth_iterations;
      m.batch = stage.batch;
      m.step_size = stage.step_size;
    }
    // Only the last segment's are evaluated.
    if (k < builder_.segments()) m.snapshot_interval = 0;
    m.batch = BatchOf(k, m.batch);
    return Normalized(m, spec_.synthesis.init);
  }

  // The images of a student's step, at most all that it sees. SeqMatch's
  // default is the size of the segment, also where earlier ones are seen.
  int BatchOf(int k, int given) const {
    const int64_t own = builder_.StoredIn(k) * builder_.factor_squared();
    const int64_t seen =
        VisibleEarlier(k) ? builder_.StoredUpTo(k) * builder_.factor_squared()
                          : own;
    if (given == 0)
      given = static_cast<int>(spec_.sequence.seqmatch ? own : seen);
    return static_cast<int>(std::min<int64_t>(given, seen));
  }
  bool VisibleEarlier(int k) const {
    return k > 1 && spec_.sequence.visible_earlier;
  }

  ExpertTraining TrainingOf(int k) const {
    ExpertTraining training = spec_.experts.training;
    if (!spec_.sequence.stages.empty()) {
      training.epochs = spec_.sequence.stages[k - 1].expert_epochs;
    }
    // A pool takes the place of a schedule.
    if (Pooled(k)) training.schedule.enabled = false;
    return Normalized(training);
  }
  bool Pooled(int k) const { return k > 1 && builder_.has_pools(); }

  // Networks that are trained on real data for a few epochs, and how hard each
  // image is for them on average.
  void AddRanking() {
    const ExpertSpec& experts = spec_.experts;
    if (experts.score == ScoreRule::kFile) {
      builder_.AddReader("ranking", ImportScoresParameters{}, 0).source_files =
          builder_.dataset().score_files;
      return;
    }
    // No recipe has a constant rate, as experts do. DC's augments alike and has
    // one drop, at half of the epochs: what settles after it hardly changes
    // which images are hard.
    TrainingRecipe training{.recipe = Recipe::kDc,
                            .batch = experts.training.batch,
                            .learning_rate = experts.training.learning_rate,
                            .momentum = 0.9,
                            .weight_decay = 0,
                            .augmentation = experts.training.augmentation,
                            .cutmix = 0};
    training.steps = static_cast<int>(
        experts.score_epoch *
        StepsPerEpoch(builder_.dataset().train_images, training.batch));
    for (int r = 1; r <= experts.score_runs; ++r) {
      const std::string id = absl::StrCat("score-net-", r);
      builder_.AddReader(
          id,
          TrainDiscriminatorParameters{.index = r - 1,
                                       .real = true,
                                       .network = spec_.network,
                                       .training = training,
                                       .seed = experts.seed,
                                       .execution = builder_.Uncut()},
          0);
      AddScores(absl::StrCat("scores-", r), id,
                experts.score == ScoreRule::kGrand, &builder_);
    }
    PlannedTask& task = builder_.AddReader(
        "ranking", RankSamplesParameters{.rule = experts.score}, 0);
    for (int r = 1; r <= experts.score_runs; ++r) {
      task.inputs[absl::StrCat("scores.", r)] =
          GraphBuilder::From(absl::StrCat("scores-", r), "scores");
    }
  }

  // What segment k is matched to, and the held-out expert where one is needed.
  void AddExperts(int k) {
    experts_.clear();
    const int count = spec_.experts.count;
    int number = 0;
    for (int first = 0; first < count; first += spec_.experts.group) {
      const std::string id = k == 1
                                 ? absl::StrCat("experts-", ++number)
                                 : absl::StrCat("experts-", k, "-", ++number);
      const int members = std::min(spec_.experts.group, count - first);
      AddExpertTask(id, k, first, members);
      for (int i = 1; i <= members; ++i) {
        experts_.push_back(GraphBuilder::From(id, absl::StrCat("expert.", i)));
      }
    }
    const TrajectoryMatchingSpec& m = *spec_.trajectory;
    probe_ = "";
    if (m.probe_interval == 0 && !m.find_range) return;
    probe_ = Numbered("probe-expert", k);
    AddExpertTask(probe_, k, count, 1);
  }

  void AddExpertTask(const std::string& id, int k, int first, int count) {
    TrainExpertsParameters parameters{.first = first,
                                      .count = count,
                                      .network = spec_.network,
                                      .training = TrainingOf(k),
                                      .seed = spec_.experts.seed,
                                      .execution = builder_.Uncut()};
    if (k > 1) {
      parameters.start = {.trained = true,
                          .order = spec_.sequence.seqmatch
                                       ? Order::kCumulative
                                       : spec_.evaluation.orders.front(),
                          .epochs = spec_.evaluation.epochs,
                          .training = spec_.evaluation.training};
      parameters.start.training.steps = 0;
    }
    const bool ranked = parameters.training.schedule.enabled;
    PlannedTask& task = builder_.AddReader(id, std::move(parameters),
                                           builder_.StoredUpTo(k - 1),
                                           builder_.DecodedParts(k - 1));
    if (ranked)
      task.inputs["ranking"] = GraphBuilder::From("ranking", "ranking");
    GraphBuilder::AddSegmentInputs(k - 1, &task);
    if (Pooled(k)) {
      task.inputs["pool"] =
          GraphBuilder::From(absl::StrCat("pool-", k), "pool");
    }
  }

  void AddExpertInputs(PlannedTask* task) const {
    for (size_t i = 0; i < experts_.size(); ++i) {
      task->inputs[absl::StrCat("expert.", i + 1)] = experts_[i];
    }
  }

  int64_t ExpertsBytes(int k) const {
    return static_cast<int64_t>(experts_.size()) *
           ExpertBytes(spec_.network, TrainingOf(k).epochs, builder_.dataset());
  }

  // "range", of a later segment "range-K".
  static std::string Numbered(const std::string& id, int k) {
    return k == 1 ? id : absl::StrCat(id, "-", k);
  }

  void AddRange(int k) {
    FindRangeParameters parameters{
        .images_per_class = spec_.sequence.segments[k - 1],
        .network = spec_.network,
        .matching = MatchingOf(k),
        .init = spec_.synthesis.init,
        .seed = spec_.seed,
        .execution = spec_.execution};
    // A probe run is short, has its own start epochs and keeps nothing.
    TrajectoryMatchingSpec& m = parameters.matching;
    m.iterations = parameters.iterations;
    m.growth_iterations = 0;
    m.pixel_ema = 0;
    m.snapshot_interval = 0;
    m.probe_interval = 0;
    PlannedTask& task = builder_.AddReader(
        Numbered("range", k), std::move(parameters), builder_.StoredIn(k));
    task.cost.artifact_bytes += ExpertsBytes(k);
    AddExpertInputs(&task);
    task.inputs["probe"] = GraphBuilder::From(probe_, "expert.1");
  }

  // Every so many iterations and at the end, from every epoch that a matched
  // interval can start at.
  double FlopsOfProbes(int k, const MatchTrajectoriesParameters& p) const {
    const TrajectoryMatchingSpec& m = p.matching;
    const int starts = TrainingOf(k).epochs - m.matched_epochs + 1;
    return (m.iterations / m.probe_interval + 1) *
           ProbeFlops(p, builder_.dataset(), starts);
  }

  void AddSegment(int k) {
    MatchTrajectoriesParameters parameters{
        .segment = k - 1,
        .images_per_class = spec_.sequence.segments[k - 1],
        .network = spec_.network,
        .matching = MatchingOf(k),
        .init = spec_.synthesis.init,
        .visible_earlier = VisibleEarlier(k),
        .seed = spec_.seed,
        .execution = spec_.execution,
        .fast_ranks = builder_.FastRanks()};
    const StepWork work = WorkOfStep(parameters, builder_.dataset());
    const bool ranged = parameters.matching.find_range;
    const bool probed = parameters.matching.probe_interval > 0;
    const double probes = probed ? FlopsOfProbes(k, parameters) : 0;
    PlannedTask& task =
        builder_.AddReader(absl::StrCat("segment-", k), std::move(parameters),
                           builder_.StoredUpTo(k - 1));
    task.ranks = spec_.resources.ranks;
    task.cost.reduced_bytes_per_step = StepBytesSent(work, task.ranks);
    task.cost.artifact_bytes += ExpertsBytes(k);
    task.cost.flops += probes;
    AddExpertInputs(&task);
    GraphBuilder::AddSegmentInputs(k - 1, &task);
    if (ranged)
      task.inputs["range"] = GraphBuilder::From(Numbered("range", k), "range");
    if (probed) task.inputs["probe"] = GraphBuilder::From(probe_, "expert.1");
    if (Pooled(k)) {
      task.inputs["pool"] =
          GraphBuilder::From(absl::StrCat("pool-", k), "pool");
    }
    if (k > 1) return;
    TaskGraph& graph = builder_.graph();
    graph.warnings = RankWarnings(work, spec_.resources.ranks);
    graph.scaling = ModelScaling(work, {1, 2, 4, 8, 64}, kModelFlopsPerSecond,
                                 {NvLink(), Ethernet()});
    if (spec_.trajectory->estimator == Estimator::kTesla &&
        spec_.trajectory->student_steps > 1) {
      graph.warnings.push_back(
          "matching.trajectory.estimator: tesla is biased for more than one "
          "student step; step_adjoint is exact in the same memory");
    }
  }

  GraphBuilder& builder_;
  const JobSpec& spec_;
  std::vector<TaskInputRef> experts_;  // of the segment in hand
  std::string probe_;                  // its held-out expert's task
};

}  // namespace

void AddMatchedSegments(GraphBuilder* builder) {
  TrajectoryPlanner(builder).Plan();
}

}  // namespace dasm
