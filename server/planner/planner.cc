#include "server/planner/planner.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/known_dataset.h"
#include "server/planner/scaling_model.h"
#include "server/planner/task_cost.h"

namespace dasm {
namespace {

constexpr int64_t kMaxSteps = 1'000'000'000;

int64_t StepsPerEpoch(int64_t images, int batch) {
  return (images + batch - 1) / batch;
}

// A set to be evaluated: its name in task ids, and where its parts are.
struct EvaluatedSet {
  std::string what;
  std::vector<TaskInputRef> parts;
  int64_t stored_images = 0;
};

class Planner {
 public:
  Planner(const JobSpec& spec, const ResolvedDataset& dataset)
      : spec_(spec), dataset_(dataset) {
    if (dataset_.classes == 0) dataset_.classes = spec.dataset.classes;
  }

  absl::StatusOr<TaskGraph> Plan() {
    if (dataset_.classes < 2 || dataset_.channels < 1 || dataset_.height < 1 ||
        dataset_.width < 1 || dataset_.train_images < 1) {
      return InvalidField("dataset",
                          "its classes, image size or image count are not "
                          "known, so nothing can be planned");
    }
    DASM_RETURN_IF_ERROR(FindStoredImages());
    DASM_RETURN_IF_ERROR(FindEvaluationSteps());
    AddPrepare();
    if (spec_.synthetic_set.has_value()) {
      AddImport();
    } else {
      AddSegments();
      AddAssemble();
    }
    AddBaselines();
    for (const EvaluatedSet& set : evaluated_) AddEvaluations(set);
    return std::move(graph_);
  }

 private:
  int FactorSquared() const {
    return spec_.synthesis.factor * spec_.synthesis.factor;
  }
  // Of what matches nothing: micro_batch has no say in it, and none in its key.
  ExecutionSpec Uncut() const {
    ExecutionSpec execution = spec_.execution;
    execution.micro_batch = 0;
    return execution;
  }
  int segments() const {
    return static_cast<int>(spec_.sequence.segments.size());
  }
  bool has_pools() const {
    return segments() > 1 && spec_.sequence.pool != PoolRule::kAll;
  }
  // Of the segments 1 .. `count`, over all classes.
  int64_t StoredUpTo(int count) const {
    int64_t images = 0;
    for (int k = 0; k < count; ++k) images += spec_.sequence.segments[k];
    return images * dataset_.classes;
  }

  absl::Status FindStoredImages() {
    images_per_class_ = spec_.images_per_class;
    stored_images_ = int64_t{images_per_class_} * dataset_.classes;
    if (!spec_.synthetic_set.has_value()) return absl::OkStatus();
    stored_images_ = dataset_.set_images;
    images_per_class_ = 0;
    if (spec_.evaluation.baselines.empty()) return absl::OkStatus();
    if (stored_images_ == 0 || stored_images_ % dataset_.classes != 0) {
      return InvalidField(
          "evaluation.baselines",
          absl::StrCat("need as many real images as the set has, in equal "
                       "numbers for each class, but the set has ",
                       stored_images_ == 0 ? "an unknown number"
                                           : absl::StrCat(stored_images_),
                       " in ", dataset_.classes, " classes: write [none]"));
    }
    images_per_class_ = static_cast<int>(stored_images_ / dataset_.classes);
    return absl::OkStatus();
  }

  // One length for all evaluations of the job, from the full set.
  absl::Status FindEvaluationSteps() {
    training_ = spec_.evaluation.training;
    if (training_.steps > 0) return absl::OkStatus();
    const int64_t decoded = stored_images_ * FactorSquared();
    if (decoded == 0) {
      return InvalidField("evaluation.steps",
                          "is required: the number of images of the set is "
                          "not known before it is read");
    }
    int64_t epochs = spec_.evaluation.epochs;
    if (epochs == 0) epochs = IdcEvaluationEpochs(decoded, dataset_.classes);
    // DC runs one pass more than it says.
    if (training_.recipe == Recipe::kDc) ++epochs;
    const int64_t steps = epochs * StepsPerEpoch(decoded, training_.batch);
    if (steps > kMaxSteps) {
      return InvalidField(
          "evaluation.epochs",
          absl::StrCat(epochs, " epochs of ", decoded, " decoded images are ",
                       steps, " steps, above ", kMaxSteps));
    }
    training_.steps = static_cast<int>(steps);
    return absl::OkStatus();
  }

  PlannedTask& Add(std::string id, TaskParameters parameters,
                   int64_t input_images) {
    PlannedTask task;
    task.id = std::move(id);
    task.cost = CostOf(parameters, dataset_, input_images);
    task.parameters = std::move(parameters);
    graph_.tasks.push_back(std::move(task));
    return graph_.tasks.back();
  }
  static TaskInputRef From(std::string task, std::string output) {
    return {.task = std::move(task), .output = std::move(output)};
  }
  static TaskInputRef Dataset() { return From("prepare", "dataset"); }
  static TaskInputRef Segment(int number) {
    return From(absl::StrCat("segment-", number), "segment");
  }

  void AddPrepare() {
    const DatasetSpec& d = spec_.dataset;
    PlannedTask& task =
        Add("prepare",
            PrepareDatasetParameters{
                .name = d.name,
                .format = nlohmann::json(d.format).get<std::string>(),
                .label_bytes = d.label_bytes,
                .image_size = d.image_size,
                .channels = d.channels,
                .classes = d.classes,
                .mean = d.mean,
                .std = d.std},
            0);
    task.source_files = dataset_.files;
  }

  void AddImport() {
    const SyntheticSetSpec& set = *spec_.synthetic_set;
    PlannedTask& task =
        Add("set",
            ImportSetParameters{.space = set.space,
                                .factor = spec_.synthesis.factor},
            stored_images_);
    task.inputs["dataset"] = Dataset();
    task.source_files = dataset_.set_files;
    if (!set.digest.empty()) {
      task.inputs["source"] = TaskInputRef{.digest = set.digest};
    }
    evaluated_.push_back({"synthetic", {From("set", "set")}, stored_images_});
  }

  void AddSegments() {
    if (has_pools() && spec_.sequence.reference_steps > 0) AddReference();
    for (int k = 1; k <= segments(); ++k) {
      if (k > 1 && has_pools()) AddPool(k);
      DistillSegmentParameters parameters{
          .segment = k - 1,
          .images_per_class = spec_.sequence.segments[k - 1],
          .network = spec_.network,
          .matching = spec_.matching,
          .synthesis = spec_.synthesis,
          .mix = k > 1 && has_pools() ? spec_.sequence.mix : 1.0,
          .seed = spec_.seed,
          .execution = spec_.execution};
      if (spec_.execution.reduction == ReductionOrder::kFast) {
        parameters.fast_ranks = spec_.resources.ranks;
      }
      if (k > 1) parameters.matching.inits = spec_.matching.later_inits;
      // Without a say in this task, so without one in its key.
      parameters.matching.later_inits = parameters.matching.inits;
      PlannedTask& task = Add(absl::StrCat("segment-", k),
                              std::move(parameters), StoredUpTo(k - 1));
      task.ranks = spec_.resources.ranks;
      const StepWork work =
          WorkOfStep(std::get<DistillSegmentParameters>(task.parameters),
                     dataset_, spec_.resources.exchange == Exchange::kDeferred);
      task.cost.reduced_bytes_per_step = StepBytesSent(work, task.ranks);
      if (k == 1) {
        graph_.warnings = RankWarnings(work, task.ranks);
        graph_.scaling =
            ModelScaling(work, {1, 2, 4, 8, 64}, kModelFlopsPerSecond,
                         {NvLink(), Ethernet()});
      }
      task.inputs["dataset"] = Dataset();
      AddSegmentInputs(k - 1, &task);
      if (k > 1 && has_pools()) {
        task.inputs["pool"] = From(absl::StrCat("pool-", k), "pool");
      }
    }
  }

  void AddSegmentInputs(int count, PlannedTask* task) {
    for (int j = 1; j <= count; ++j) {
      task->inputs[absl::StrCat("segment.", j)] = Segment(j);
    }
  }

  // A network trained on real data, whose EL2N deciles the learned fraction is
  // reported by. The same for every job on the data set.
  void AddReference() {
    TrainingRecipe training = spec_.evaluation.training;
    training.steps = spec_.sequence.reference_steps;
    PlannedTask& task =
        Add("reference",
            TrainDiscriminatorParameters{.index = 0,
                                         .real = true,
                                         .network = spec_.network,
                                         .training = training,
                                         .factor = 1,
                                         .seed = spec_.evaluation.seed,
                                         .execution = Uncut()},
            0);
    task.inputs["dataset"] = Dataset();
    AddScores("reference-scores", "reference");
  }

  void AddScores(const std::string& id, const std::string& network_task) {
    PlannedTask& task = Add(
        id,
        ScoreSamplesParameters{.network = spec_.network, .execution = Uncut()},
        0);
    task.inputs["dataset"] = Dataset();
    task.inputs["weights"] = From(network_task, "weights");
  }

  // The pool of segment k: what networks trained on the segments before it
  // have not learned.
  void AddPool(int k) {
    const int64_t stored = StoredUpTo(k - 1);
    TrainingRecipe training = spec_.evaluation.training;
    training.steps = static_cast<int>(std::min<int64_t>(
        spec_.sequence.discriminator_steps,
        spec_.sequence.discriminator_epochs *
            StepsPerEpoch(stored * FactorSquared(), training.batch)));
    for (int d = 1; d <= spec_.sequence.discriminators; ++d) {
      const std::string id = absl::StrCat("discriminator-", k, "-", d);
      PlannedTask& task =
          Add(id,
              TrainDiscriminatorParameters{.index = d - 1,
                                           .real = false,
                                           .network = spec_.network,
                                           .training = training,
                                           .factor = spec_.synthesis.factor,
                                           .seed = spec_.seed,
                                           .execution = Uncut()},
              stored);
      task.inputs["dataset"] = Dataset();
      AddSegmentInputs(k - 1, &task);
      AddScores(absl::StrCat("scores-", k, "-", d), id);
    }
    const SequenceSpec& s = spec_.sequence;
    PlannedTask& task =
        Add(absl::StrCat("pool-", k),
            SelectPoolParameters{
                .pool = s.pool,
                .trim = s.trim,
                .quantile_floor = s.quantile_floor,
                .el2n_threshold = s.el2n_threshold,
                .weight_floor = s.weight_floor,
                .weight_power = s.weight_power,
                .minimum = std::max(2 * spec_.matching.real_batch,
                                    FactorSquared() * s.segments[k - 1])},
            0);
    task.inputs["dataset"] = Dataset();
    AddSegmentInputs(k - 1, &task);
    for (int d = 1; d <= s.discriminators; ++d) {
      task.inputs[absl::StrCat("scores.", d)] =
          From(absl::StrCat("scores-", k, "-", d), "scores");
    }
    if (k > 2) {
      task.inputs["previous_pool"] = From(absl::StrCat("pool-", k - 1), "pool");
    }
    if (s.reference_steps > 0) {
      task.inputs["reference_scores"] = From("reference-scores", "scores");
    }
  }

  void AddAssemble() {
    PlannedTask& task =
        Add("assemble", AssembleParameters{.factor = spec_.synthesis.factor},
            stored_images_);
    task.inputs["dataset"] = Dataset();
    AddSegmentInputs(segments(), &task);
    for (int k = 1; k <= segments(); ++k) {
      task.inputs[absl::StrCat("start.", k)] =
          From(absl::StrCat("segment-", k), "start");
    }
    evaluated_.push_back(
        {"synthetic", {From("assemble", "synthetic")}, stored_images_});
    if (!spec_.evaluation.prefixes) return;
    for (int k = 1; k < segments(); ++k) {
      EvaluatedSet prefix{.what = absl::StrCat("prefix", k),
                          .stored_images = StoredUpTo(k)};
      for (int j = 1; j <= k; ++j) prefix.parts.push_back(Segment(j));
      evaluated_.push_back(std::move(prefix));
    }
  }

  // Baselines hold nothing of the run, so that jobs share them.
  void AddBaselines() {
    for (const Baseline baseline : spec_.evaluation.baselines) {
      const std::string what = nlohmann::json(baseline).get<std::string>();
      if (baseline == Baseline::kStart) {
        evaluated_.push_back(
            {what, {From("assemble", "start")}, stored_images_});
        continue;
      }
      // A tile of factor 1 is an image.
      const bool tiles =
          baseline == Baseline::kTiles && spec_.synthesis.factor > 1;
      const std::string id = what + "-set";
      PlannedTask& task = Add(
          id,
          SelectCoresetParameters{.rule = tiles ? "tiles" : "random",
                                  .images_per_class = images_per_class_,
                                  .factor = tiles ? spec_.synthesis.factor : 1,
                                  .seed = spec_.evaluation.seed},
          stored_images_);
      task.inputs["dataset"] = Dataset();
      evaluated_.push_back({what, {From(id, "set")}, stored_images_});
    }
  }

  void AddEvaluations(const EvaluatedSet& set) {
    for (const NetworkSpec& network : spec_.evaluation.networks) {
      for (int repeat = 0; repeat < spec_.evaluation.repeats; ++repeat) {
        PlannedTask& task =
            Add(absl::StrCat("evaluate-", set.what, "-", network.ToString(),
                             "-", repeat + 1),
                EvaluateParameters{.network = network,
                                   .training = training_,
                                   .repeat = repeat,
                                   .seed = spec_.evaluation.seed,
                                   .execution = Uncut()},
                set.stored_images);
        task.inputs["dataset"] = Dataset();
        for (size_t i = 0; i < set.parts.size(); ++i) {
          task.inputs[absl::StrCat("set.", i + 1)] = set.parts[i];
        }
      }
    }
  }

  const JobSpec& spec_;
  ResolvedDataset dataset_;
  int images_per_class_ = 0;  // 0: of an existing set, unknown
  int64_t stored_images_ = 0;
  TrainingRecipe training_;  // with its steps
  std::vector<EvaluatedSet> evaluated_;
  TaskGraph graph_;
};

}  // namespace

absl::StatusOr<TaskGraph> PlanJob(const JobSpec& spec,
                                  const ResolvedDataset& dataset) {
  return Planner(spec, dataset).Plan();
}

}  // namespace dasm
