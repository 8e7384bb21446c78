#include "worker/engine/task/assemble.h"

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/dataset/png.h"
#include "worker/engine/dataset/zca.h"
#include "worker/engine/task/image_grid.h"

namespace dasm {
namespace {

// What a reader needs to train on the set; no time, host or version, so that
// equal sets are equal bytes.
std::map<std::string, std::string> Metadata(const ImageData& data) {
  std::map<std::string, std::string> metadata = {
      {"dataset", data.name()},
      {"classes", nlohmann::json(data.class_names()).dump()},
      {"mean", nlohmann::json(data.normalization().mean).dump()},
      {"std", nlohmann::json(data.normalization().std).dump()}};
  const auto whitening = data.file().metadata().find(kWhitening);
  if (whitening != data.file().metadata().end()) metadata.insert(*whitening);
  return metadata;
}

// Images of a preprocessed set back in pixel space, not clamped.
absl::StatusOr<at::Tensor> PixelsOf(const SetData& set, const ImageData& data,
                                    const TaskFiles& files) {
  if (data.preprocessing() == Preprocessing::kZca) {
    DASM_ASSIGN_OR_RETURN(const std::string path, InputPath(files, "zca"));
    DASM_ASSIGN_OR_RETURN(const Zca zca,
                          LoadZca(path, data.shape().elements()));
    return zca.Unwhiten(set.images).contiguous();
  }
  const auto channel = [](const std::vector<double>& values) {
    return at::tensor(values, at::kFloat).view({1, -1, 1, 1});
  };
  return set.images * channel(data.normalization().std) +
         channel(data.normalization().mean);
}

}  // namespace

absl::StatusOr<TaskOutcome> Assemble(const AssembleParameters& parameters,
                                     const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_ASSIGN_OR_RETURN(SetData synthetic,
                        LoadUnion(context.files, "segment", *data));
  DASM_ASSIGN_OR_RETURN(SetData start,
                        LoadUnion(context.files, "start", *data));
  if (synthetic.factor != parameters.factor ||
      synthetic.preprocessed != start.preprocessed ||
      start.images.sizes() != synthetic.images.sizes()) {
    return WithFailureClass(
        absl::FailedPreconditionError(
            absl::StrCat("the segments (", synthetic.images.size(0),
                         " images, factor ", synthetic.factor,
                         ") do not fit their starts (", start.images.size(0),
                         ") or the task's factor ", parameters.factor)),
        FailureClass::kData);
  }
  // The sources are for later segments, not for users.
  synthetic.source = at::Tensor();
  std::map<std::string, at::Tensor> more;
  SetData shown = synthetic;
  if (synthetic.preprocessed) {
    DASM_ASSIGN_OR_RETURN(const at::Tensor pixels,
                          PixelsOf(synthetic, *data, context.files));
    more["pixels"] = pixels;
    shown.images = StretchForDisplay(pixels);
  } else {
    synthetic.images = synthetic.images.clamp(0.0, 1.0);
    shown.images = synthetic.images;
  }
  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(
      outputs.WriteSet("synthetic", synthetic, Metadata(*data), more));
  DASM_RETURN_IF_ERROR(outputs.WriteSet("start", start, Metadata(*data)));
  const ImageGrid grid = DrawGrid(shown, data->classes());
  DASM_ASSIGN_OR_RETURN(const std::string png,
                        EncodePng(grid.channels, static_cast<int>(grid.height),
                                  static_cast<int>(grid.width), grid.pixels));
  DASM_RETURN_IF_ERROR(outputs.WriteBytes("grid", "grid.png", png));
  return outputs.Finish({{"images", synthetic.images.size(0)},
                         {"stored_bytes", synthetic.images.nbytes()}});
}

}  // namespace dasm
