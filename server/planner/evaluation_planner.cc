#include "server/planner/evaluation_planner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/known_dataset.h"
#include "server/planner/task_cost.h"

namespace dasm {
namespace {

constexpr int64_t kMaxSteps = 1'000'000'000;
// Of baselines where the recipe takes the learned step size (the rate of the
// experts).
constexpr double kBaselineLearningRate = 0.01;

std::string NameOf(Order order) {
  return nlohmann::json(order).get<std::string>();
}

std::string SegmentTask(int k) { return absl::StrCat("segment-", k); }

}  // namespace

absl::Status EvaluationPlanner::FindLengths() {
  DASM_RETURN_IF_ERROR(FindStoredImages());
  return FindSteps();
}

absl::Status EvaluationPlanner::FindStoredImages() {
  const JobSpec& spec = builder_.spec();
  const int classes = builder_.dataset().classes;
  images_per_class_ = spec.images_per_class;
  stored_images_ = int64_t{images_per_class_} * classes;
  if (!spec.synthetic_set.has_value()) return absl::OkStatus();
  stored_images_ = builder_.dataset().set_images;
  images_per_class_ = 0;
  if (spec.evaluation.baselines.empty()) return absl::OkStatus();
  if (stored_images_ == 0 || stored_images_ % classes != 0) {
    return InvalidField(
        "evaluation.baselines",
        absl::StrCat("need as many real images as the set has, in equal "
                     "numbers for each class, but the set has ",
                     stored_images_ == 0 ? "an unknown number"
                                         : absl::StrCat(stored_images_),
                     " in ", classes, " classes: write [none]"));
  }
  images_per_class_ = static_cast<int>(stored_images_ / classes);
  return absl::OkStatus();
}

absl::Status EvaluationPlanner::FindSteps() {
  const JobSpec& spec = builder_.spec();
  const EvaluationSpec& evaluation = spec.evaluation;
  training_ = evaluation.training;
  bool staged = false;
  bool united = false;
  for (const Order order : evaluation.orders) {
    (order == Order::kUnion ? united : staged) = true;
  }
  if (training_.steps > 0) {
    if (!staged || (!spec.synthetic_set.has_value() && builder_.segments() < 2))
      return absl::OkStatus();
    return InvalidField("evaluation.steps",
                        "is the length of a union; the other orders of "
                        "evaluation.orders train in stages, whose length is "
                        "evaluation.epochs");
  }
  const int64_t decoded = stored_images_ * builder_.factor_squared();
  if (decoded == 0) {
    epochs_ = evaluation.epochs;
    if (!united && epochs_ > 0) return absl::OkStatus();
    return InvalidField("evaluation.steps",
                        "is required: the number of images of the set is not "
                        "known before it is read");
  }
  epochs_ = evaluation.epochs;
  if (epochs_ == 0) {
    epochs_ = IdcEvaluationEpochs(decoded, builder_.dataset().classes);
  }
  const int64_t passes = PassesOf(training_, epochs_);
  const int64_t steps = passes * StepsPerEpoch(decoded, training_.batch);
  if (steps > kMaxSteps) {
    return InvalidField(
        "evaluation.epochs",
        absl::StrCat(passes, " epochs of ", decoded, " decoded images are ",
                     steps, " steps, above ", kMaxSteps));
  }
  training_.steps = static_cast<int>(steps);
  return absl::OkStatus();
}

Order EvaluationPlanner::FirstOrder() const {
  return builder_.segments() < 2 ? Order::kUnion
                                 : builder_.spec().evaluation.orders.front();
}

EvaluationPlanner::Set EvaluationPlanner::EndingWith(
    const std::string& what, const std::string& output) const {
  const int last = builder_.segments();
  Set set{.what = what,
          .stored = stored_images_,
          .decoded = builder_.DecodedParts(last),
          .order = FirstOrder(),
          .candidate = true};
  for (int k = 1; k < last; ++k) {
    set.parts.push_back(GraphBuilder::From(SegmentTask(k), "segment"));
  }
  set.parts.push_back(GraphBuilder::From(SegmentTask(last), output));
  return set;
}

void EvaluationPlanner::AddDistilled() {
  const EvaluationSpec& evaluation = builder_.spec().evaluation;
  const int segments = builder_.segments();
  for (size_t i = 0; i < evaluation.orders.size(); ++i) {
    if (i > 0 && segments < 2) break;
    sets_.push_back(
        {.what = i == 0
                     ? "synthetic"
                     : absl::StrCat("synthetic-", NameOf(evaluation.orders[i])),
         .parts = {GraphBuilder::From("assemble", "synthetic")},
         .stored = stored_images_,
         .decoded = builder_.DecodedParts(segments),
         .order = i == 0 ? FirstOrder() : evaluation.orders[i],
         .candidate = i == 0});
  }
  AddSnapshots();
  if (evaluation.prefixes) {
    for (int k = 1; k < segments; ++k) {
      Set prefix{.what = absl::StrCat("prefix", k),
                 .stored = builder_.StoredUpTo(k),
                 .decoded = builder_.DecodedParts(k),
                 .order = FirstOrder()};
      for (int j = 1; j <= k; ++j) {
        prefix.parts.push_back(GraphBuilder::From(SegmentTask(j), "segment"));
      }
      sets_.push_back(std::move(prefix));
    }
  }
  AddBaselines();
}

// The end of the run is "synthetic" (and "raw"), not a snapshot.
void EvaluationPlanner::AddSnapshots() {
  const JobSpec& spec = builder_.spec();
  if (!trajectory()) return;
  const bool averaged = spec.trajectory->pixel_ema > 0;
  if (averaged) sets_.push_back(EndingWith("raw", "raw"));
  if (spec.evaluation.protocol == Protocol::kLast) return;
  const int interval = spec.trajectory->snapshot_interval;
  if (interval == 0) return;
  const int iterations = spec.sequence.stages.empty()
                             ? spec.trajectory->iterations
                             : spec.sequence.stages.back().iterations;
  for (int i = interval; i < iterations; i += interval) {
    sets_.push_back(
        EndingWith(absl::StrCat("snapshot-", i), absl::StrCat("snapshot.", i)));
    if (!averaged) continue;
    sets_.push_back(EndingWith(absl::StrCat("raw-snapshot-", i),
                               absl::StrCat("raw_snapshot.", i)));
  }
}

void EvaluationPlanner::AddImported() {
  const EvaluationSpec& evaluation = builder_.spec().evaluation;
  for (size_t i = 0; i < evaluation.orders.size(); ++i) {
    Set set{.what = i == 0 ? "synthetic"
                           : absl::StrCat("synthetic-",
                                          NameOf(evaluation.orders[i])),
            .parts = {GraphBuilder::From("set", "set")},
            .stored = stored_images_,
            .order = evaluation.orders[i]};
    if (stored_images_ > 0) {
      set.decoded = {stored_images_ * builder_.factor_squared()};
    }
    sets_.push_back(std::move(set));
  }
  AddBaselines();
}

void EvaluationPlanner::AddBaselines() {
  const JobSpec& spec = builder_.spec();
  for (const Baseline baseline : spec.evaluation.baselines) {
    const std::string what = nlohmann::json(baseline).get<std::string>();
    const int64_t decoded = stored_images_ * builder_.factor_squared();
    if (baseline == Baseline::kStart) {
      sets_.push_back({.what = what,
                       .parts = {GraphBuilder::From("assemble", "start")},
                       .stored = stored_images_,
                       .decoded = {decoded},
                       .baseline = true});
      continue;
    }
    // A tile of factor 1 is an image.
    const bool tiles =
        baseline == Baseline::kTiles && spec.synthesis.factor > 1;
    const std::string id = what + "-set";
    builder_.AddReader(
        id,
        SelectCoresetParameters{.rule = tiles ? "tiles" : "random",
                                .images_per_class = images_per_class_,
                                .factor = tiles ? spec.synthesis.factor : 1,
                                .seed = spec.evaluation.seed},
        stored_images_);
    sets_.push_back({.what = what,
                     .parts = {GraphBuilder::From(id, "set")},
                     .stored = stored_images_,
                     .decoded = {tiles ? decoded : stored_images_},
                     .baseline = true});
  }
}

EvaluateParameters EvaluationPlanner::ParametersOf(const Set& set) const {
  const EvaluationSpec& evaluation = builder_.spec().evaluation;
  EvaluateParameters parameters{.training = training_,
                                .seed = evaluation.seed,
                                .execution = builder_.Uncut()};
  if (set.order != Order::kUnion) {
    parameters.order = set.order;
    parameters.epochs = epochs_;
    parameters.training.steps = 0;
  }
  if (set.baseline && training_.recipe == Recipe::kTrajectory &&
      training_.learning_rate == 0) {
    parameters.training.learning_rate = kBaselineLearningRate;
  }
  return parameters;
}

void EvaluationPlanner::AddEvaluations() {
  for (const Set& set : sets_) AddEvaluations(set);
}

void EvaluationPlanner::AddEvaluations(const Set& set) {
  const EvaluationSpec& evaluation = builder_.spec().evaluation;
  const bool validated = trajectory() && set.candidate &&
                         evaluation.protocol == Protocol::kValidation;
  for (const NetworkSpec& network : evaluation.networks) {
    for (int repeat = 0; repeat < evaluation.repeats; ++repeat) {
      EvaluateParameters parameters = ParametersOf(set);
      parameters.network = network;
      if (validated) parameters.split = Split::kTestAndValidation;
      parameters.repeat = repeat;
      PlannedTask& task =
          builder_.AddReader(absl::StrCat("evaluate-", set.what, "-",
                                          network.ToString(), "-", repeat + 1),
                             std::move(parameters), set.stored, set.decoded);
      for (size_t i = 0; i < set.parts.size(); ++i) {
        task.inputs[absl::StrCat("set.", i + 1)] = set.parts[i];
      }
    }
  }
}

}  // namespace dasm
