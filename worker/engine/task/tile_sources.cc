#include "worker/engine/task/tile_sources.h"

#include <ATen/ATen.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

// What DrawStart writes in place of a source that there is not.
constexpr int64_t kNoise = -1;

}  // namespace

absl::StatusOr<absl::flat_hash_set<int64_t>> TileSources(
    const TaskFiles& files, const ImageData& data) {
  absl::flat_hash_set<int64_t> sources;
  for (const std::string& path : NumberedInputs(files, "segment")) {
    DASM_ASSIGN_OR_RETURN(const SetData segment, LoadSet(path));
    DASM_RETURN_IF_ERROR(CheckSet(segment, data, path));
    if (!segment.source.defined()) continue;
    const at::Tensor source = segment.source.contiguous();
    const int64_t* first = source.data_ptr<int64_t>();
    for (int64_t k = 0; k < source.numel(); ++k) {
      if (first[k] == kNoise) continue;
      if (first[k] < 0 || first[k] >= data.train().size()) {
        return WithFailureClass(
            absl::FailedPreconditionError(
                absl::StrCat(path, ": a tile of training image ", first[k],
                             ", the data set has ", data.train().size())),
            FailureClass::kData);
      }
      sources.insert(first[k]);
    }
  }
  return sources;
}

}  // namespace dasm
