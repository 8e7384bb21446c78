#include "worker/engine/task/match_trajectories.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/task/pool_file.h"
#include "worker/engine/task/tile_sources.h"
#include "worker/engine/task/trajectory_distiller.h"
#include "worker/engine/task/trajectory_inputs.h"
#include "worker/engine/task/trajectory_loop.h"
#include "worker/engine/task/trajectory_start.h"

namespace dasm {
namespace {

// The segments that the student also steps on. DATA unless they are made for
// that: preprocessed, and with soft labels where the new one has them.
absl::StatusOr<SetData> LoadEarlier(const MatchTrajectoriesParameters& p,
                                    const TaskFiles& files,
                                    const ImageData& data) {
  DASM_ASSIGN_OR_RETURN(SetData earlier, LoadUnion(files, "segment", data));
  const bool soft = p.matching.labels != Labels::kHard;
  if (earlier.preprocessed && earlier.factor == 1 &&
      earlier.label_logits.defined() == soft) {
    return earlier;
  }
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(
          "the earlier segments are not of this kind: a student with ",
          soft ? "soft" : "hard",
          " labels steps on preprocessed ones with such labels")),
      FailureClass::kData);
}

}  // namespace

absl::StatusOr<TaskOutcome> MatchTrajectories(
    const MatchTrajectoriesParameters& parameters, const TaskContext& context) {
  const TaskFiles& files = context.files;
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(files));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  DASM_ASSIGN_OR_RETURN(const TrajectoryMatchingSpec spec,
                        WithRange(parameters.matching, files));
  const NetworkIdentity identity = {parameters.network, *network};
  DASM_ASSIGN_OR_RETURN(
      const Experts experts,
      OpenExperts(files, identity, *data, NeededEpochs(spec)));
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ExpertFile> held_out,
                        OpenProbe(files, identity, *data, spec.matched_epochs));
  DASM_ASSIGN_OR_RETURN(const std::vector<ClassPool> pools,
                        LoadClassPools(files, *data));
  DASM_ASSIGN_OR_RETURN(const absl::flat_hash_set<int64_t> used,
                        TileSources(files, *data));
  const uint64_t seed =
      DerivedSeed(parameters.seed, "segment", parameters.segment);
  DASM_ASSIGN_OR_RETURN(
      const SetData start,
      DrawTrajectoryStart({seed, parameters.init, parameters.images_per_class,
                           parameters.segment, spec, parameters.execution},
                          *data, *network, experts, pools, used, context));

  SetData earlier;
  const bool visible = parameters.visible_earlier && parameters.segment > 0;
  if (visible) {
    DASM_ASSIGN_OR_RETURN(earlier, LoadEarlier(parameters, files, *data));
  }
  const TrajectoryLoop loop(network.get(), &experts, context.collective,
                            context.device,
                            {spec, parameters.execution, seed,
                             visible ? &earlier : nullptr, context.graph});
  TrajectoryDistiller distiller(
      &context, spec,
      static_cast<int64_t>(network->parameters().entries().size()), &loop,
      held_out.get());
  DASM_ASSIGN_OR_RETURN(const TrajectoryDistiller::Result result,
                        distiller.Run(start));

  Outputs outputs(context);
  for (const auto& [name, set] : result.sets) {
    DASM_RETURN_IF_ERROR(outputs.WriteSet(name, set));
  }
  DASM_RETURN_IF_ERROR(outputs.WriteSet("start", start));
  std::vector<std::string> layers;
  for (const auto& entry : network->parameters().entries()) {
    layers.push_back(entry.name);
  }
  DASM_RETURN_IF_ERROR(outputs.Write(
      "curves", result.curves, {{"layers", nlohmann::json(layers).dump()}}));
  nlohmann::json summary = {
      {"iterations", result.iterations},
      {"skipped", result.skipped},
      {"final_loss", result.final_loss},
      {"step_size", result.step_size},
      {"peak_memory_bytes", PeakMemoryBytes(context.device)}};
  if (start.label_logits.defined()) {
    summary["label_entropy"] = result.label_entropy;
  }
  return outputs.Finish(summary);
}

}  // namespace dasm
