#include "server/planner/planner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "server/planner/evaluation_planner.h"
#include "server/planner/graph_builder.h"
#include "server/planner/pool_planner.h"
#include "server/planner/scaling_model.h"
#include "server/planner/task_cost.h"
#include "server/planner/trajectory_planner.h"

namespace dasm {
namespace {

void AddImport(int64_t stored_images, GraphBuilder* builder) {
  const JobSpec& spec = builder->spec();
  const SyntheticSetSpec& set = *spec.synthetic_set;
  PlannedTask& task = builder->AddReader(
      "set",
      ImportSetParameters{.space = set.space, .factor = spec.synthesis.factor},
      stored_images);
  task.source_files = builder->dataset().set_files;
  if (!set.digest.empty()) {
    task.inputs["source"] = TaskInputRef{.digest = set.digest};
  }
}

// Segments by gradient matching.
void AddDistilledSegments(GraphBuilder* builder) {
  const JobSpec& spec = builder->spec();
  if (builder->has_pools() && spec.sequence.reference_steps > 0) {
    AddReference(builder);
  }
  for (int k = 1; k <= builder->segments(); ++k) {
    const bool pooled = k > 1 && builder->has_pools();
    if (pooled) AddPool(k, builder);
    DistillSegmentParameters parameters{
        .segment = k - 1,
        .images_per_class = spec.sequence.segments[k - 1],
        .network = spec.network,
        .matching = spec.matching,
        .synthesis = spec.synthesis,
        .mix = pooled ? spec.sequence.mix : 1.0,
        .seed = spec.seed,
        .execution = spec.execution,
        .fast_ranks = builder->FastRanks(),
        .fast_trainer =
            builder->FastRanks() > 0 && spec.resources.trainer_rank};
    if (k > 1) parameters.matching.inits = spec.matching.later_inits;
    // Without a say in this task, so without one in its key.
    parameters.matching.later_inits = parameters.matching.inits;
    const StepWork work =
        WorkOfStep(parameters, builder->dataset(),
                   spec.resources.exchange == Exchange::kDeferred);
    const bool trainer =
        spec.resources.trainer_rank && spec.resources.ranks > 1;
    PlannedTask& task =
        builder->AddReader(absl::StrCat("segment-", k), std::move(parameters),
                           builder->StoredUpTo(k - 1));
    task.ranks = spec.resources.ranks;
    task.cost.reduced_bytes_per_step =
        trainer ? StepBytesSent(WithTrainer(work), task.ranks, 1)
                : StepBytesSent(work, task.ranks);
    GraphBuilder::AddSegmentInputs(k - 1, &task);
    if (pooled) {
      task.inputs["pool"] =
          GraphBuilder::From(absl::StrCat("pool-", k), "pool");
    }
    if (k > 1) continue;
    TaskGraph& graph = builder->graph();
    graph.warnings = RankWarnings(work, spec.resources.ranks, trainer);
    graph.scaling = ModelScaling(work, {1, 2, 4, 8, 64}, kModelFlopsPerSecond,
                                 {NvLink(), Ethernet()}, trainer);
    // Where a trainer rank would have nothing to do it is refused.
    if (spec.matching.net_steps > 0 && spec.matching.steps_per_init > 1) {
      graph.scaling_advice =
          TrainerAdvice(work, spec.resources.ranks, trainer,
                        kModelFlopsPerSecond, {NvLink(), Ethernet()});
    }
  }
}

void AddAssemble(GraphBuilder* builder) {
  const int segments = builder->segments();
  PlannedTask& task = builder->AddReader(
      "assemble",
      AssembleParameters{.factor = builder->spec().synthesis.factor},
      builder->StoredUpTo(segments));
  GraphBuilder::AddSegmentInputs(segments, &task);
  for (int k = 1; k <= segments; ++k) {
    task.inputs[absl::StrCat("start.", k)] =
        GraphBuilder::From(absl::StrCat("segment-", k), "start");
  }
  if (builder->spec().dataset.preprocessing == Preprocessing::kZca) {
    task.inputs["zca"] = GraphBuilder::From("whiten", "zca");
  }
}

}  // namespace

absl::StatusOr<TaskGraph> PlanJob(const JobSpec& spec,
                                  const ResolvedDataset& dataset) {
  GraphBuilder builder(spec, dataset);
  const ResolvedDataset& data = builder.dataset();
  if (data.classes < 2 || data.channels < 1 || data.height < 1 ||
      data.width < 1 || data.train_images < 1) {
    return InvalidField("dataset",
                        "its classes, image size or image count are not "
                        "known, so nothing can be planned");
  }
  EvaluationPlanner evaluations(&builder);
  DASM_RETURN_IF_ERROR(evaluations.FindLengths());
  builder.AddDataset();
  if (spec.synthetic_set.has_value()) {
    AddImport(evaluations.stored_images(), &builder);
    evaluations.AddImported();
  } else {
    if (spec.trajectory.has_value()) {
      AddMatchedSegments(&builder);
    } else {
      AddDistilledSegments(&builder);
    }
    AddAssemble(&builder);
    evaluations.AddDistilled();
  }
  evaluations.AddEvaluations();
  return std::move(builder.graph());
}

}  // namespace dasm
