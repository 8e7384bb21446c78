#include "worker/engine/task/select_coreset.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/task/start_set.h"

namespace dasm {

absl::StatusOr<TaskOutcome> SelectCoreset(
    const SelectCoresetParameters& parameters, const TaskContext& context) {
  const bool tiles = parameters.rule == "tiles";
  if (!tiles && parameters.rule != "random") {
    return absl::InvalidArgumentError(
        absl::StrCat("select_coreset knows no rule \"", parameters.rule, "\""));
  }
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  StartOptions options;
  options.seed = DerivedSeed(parameters.seed, "coreset." + parameters.rule, 0);
  options.factor = tiles ? parameters.factor : 1;
  options.images_per_class = parameters.images_per_class;
  DASM_ASSIGN_OR_RETURN(
      const SetData set,
      DrawStart(options, *data, std::vector<ClassPool>(data->classes()), {}));
  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(outputs.WriteSet("set", set));
  return outputs.Finish(
      {{"images", set.images.size(0)}, {"stored_bytes", set.images.nbytes()}});
}

}  // namespace dasm
