#include "server/planner/pool_planner.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "server/planner/task_cost.h"

namespace dasm {
namespace {

// How long a discriminator trains on the segments 1 .. k - 1: for the smaller
// of the spec's epochs and steps.
void SetLength(int k, const GraphBuilder& builder,
               TrainDiscriminatorParameters* parameters) {
  const JobSpec& spec = builder.spec();
  const SequenceSpec& s = spec.sequence;
  const std::vector<int64_t> parts = builder.DecodedParts(k - 1);
  const int batch = parameters->training.batch;
  if (spec.evaluation.orders.front() == Order::kUnion) {
    const int64_t images =
        std::accumulate(parts.begin(), parts.end(), int64_t{0});
    parameters->training.steps = static_cast<int>(std::min<int64_t>(
        s.discriminator_steps,
        s.discriminator_epochs * StepsPerEpoch(images, batch)));
    return;
  }
  parameters->order = spec.evaluation.orders.front();
  parameters->training.steps = 0;
  int64_t pass = 0;  // steps of one epoch of every stage
  int64_t images = 0;
  for (const int64_t part : parts) {
    images = parameters->order == Order::kStaged ? part : images + part;
    pass += StepsPerEpoch(images, batch);
  }
  const int more = PassesOf(parameters->training, 0);
  parameters->epochs = static_cast<int>(
      std::clamp<int64_t>(s.discriminator_steps / pass - more, 1,
                          std::max(1, s.discriminator_epochs)));
}

}  // namespace

void AddReference(GraphBuilder* builder) {
  const JobSpec& spec = builder->spec();
  TrainingRecipe training = spec.evaluation.training;
  training.steps = spec.sequence.reference_steps;
  // There is no learned one.
  if (training.learning_rate == 0) training.learning_rate = 0.01;
  builder->AddReader(
      "reference",
      TrainDiscriminatorParameters{.index = 0,
                                   .real = true,
                                   .network = spec.network,
                                   .training = training,
                                   .factor = 1,
                                   .seed = spec.evaluation.seed,
                                   .execution = builder->Uncut()},
      0);
  AddScores("reference-scores", "reference", /*grand=*/false, builder);
}

void AddPool(int k, GraphBuilder* builder) {
  const JobSpec& spec = builder->spec();
  const SequenceSpec& s = spec.sequence;
  const int64_t stored = builder->StoredUpTo(k - 1);
  for (int d = 1; d <= s.discriminators; ++d) {
    const std::string id = absl::StrCat("discriminator-", k, "-", d);
    TrainDiscriminatorParameters parameters{
        .index = d - 1,
        .real = false,
        .network = spec.network,
        .training = spec.evaluation.training,
        .factor = spec.synthesis.factor,
        .seed = spec.seed,
        .execution = builder->Uncut()};
    SetLength(k, *builder, &parameters);
    PlannedTask& task = builder->AddReader(id, std::move(parameters), stored,
                                           builder->DecodedParts(k - 1));
    GraphBuilder::AddSegmentInputs(k - 1, &task);
    AddScores(absl::StrCat("scores-", k, "-", d), id, /*grand=*/false, builder);
  }
  // What a batch of the segment's matching takes from a class at the least.
  const int drawn =
      2 * (spec.trajectory.has_value() ? s.segments[k - 1]
                                       : spec.matching.real_batch);
  PlannedTask& task = builder->AddReader(
      absl::StrCat("pool-", k),
      SelectPoolParameters{
          .pool = s.pool,
          .trim = s.trim,
          .quantile_floor = s.quantile_floor,
          .el2n_threshold = s.el2n_threshold,
          .weight_floor = s.weight_floor,
          .weight_power = s.weight_power,
          .minimum =
              std::max(drawn, builder->factor_squared() * s.segments[k - 1])},
      0);
  GraphBuilder::AddSegmentInputs(k - 1, &task);
  for (int d = 1; d <= s.discriminators; ++d) {
    task.inputs[absl::StrCat("scores.", d)] =
        GraphBuilder::From(absl::StrCat("scores-", k, "-", d), "scores");
  }
  if (k > 2) {
    task.inputs["previous_pool"] =
        GraphBuilder::From(absl::StrCat("pool-", k - 1), "pool");
  }
  if (s.reference_steps > 0) {
    task.inputs["reference_scores"] =
        GraphBuilder::From("reference-scores", "scores");
  }
}

void AddScores(const std::string& id, const std::string& network_task,
               bool grand, GraphBuilder* builder) {
  PlannedTask& task = builder->AddReader(
      id,
      ScoreSamplesParameters{.network = builder->spec().network,
                             .grand = grand,
                             .execution = builder->Uncut()},
      0);
  task.inputs["weights"] = GraphBuilder::From(network_task, "weights");
}

}  // namespace dasm
