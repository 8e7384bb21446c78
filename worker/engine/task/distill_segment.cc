#include "worker/engine/task/distill_segment.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/task/pool_file.h"
#include "worker/engine/task/segment_distiller.h"
#include "worker/engine/task/start_set.h"
#include "worker/engine/task/tile_sources.h"

namespace dasm {
absl::StatusOr<TaskOutcome> DistillSegment(
    const DistillSegmentParameters& parameters, const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  DASM_ASSIGN_OR_RETURN(std::vector<ClassPool> pools,
                        LoadClassPools(context.files, *data));
  DASM_ASSIGN_OR_RETURN(const absl::flat_hash_set<int64_t> used,
                        TileSources(context.files, *data));

  SegmentDistiller::Options options;
  options.parameters = parameters;
  options.seed = DerivedSeed(parameters.seed, "segment", parameters.segment);
  StartOptions start_options;
  start_options.seed = options.seed;
  start_options.init = parameters.synthesis.init;
  start_options.factor = parameters.synthesis.factor;
  start_options.images_per_class = parameters.images_per_class;
  start_options.segment = parameters.segment;
  DASM_ASSIGN_OR_RETURN(const SetData start,
                        DrawStart(start_options, *data, pools, used));
  options.pools = std::move(pools);

  SegmentDistiller distiller(&context, data.get(), network.get(),
                             std::move(options));
  DASM_ASSIGN_OR_RETURN(const SegmentDistiller::Result result,
                        distiller.Run(start.images));
  SetData segment = start;
  segment.images = result.images;
  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(outputs.WriteSet("segment", segment));
  DASM_RETURN_IF_ERROR(outputs.WriteSet("start", start));
  return outputs.Finish({{"steps", result.steps},
                         {"final_loss", result.final_loss},
                         {"max_pixel_step", result.max_pixel_step}});
}

}  // namespace dasm
