#include "worker/engine/task/trajectory_inputs.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/device/load_plugin.h"

namespace dasm {

absl::StatusOr<TrajectoryMatchingSpec> WithRange(
    const TrajectoryMatchingSpec& spec, const TaskFiles& files) {
  TrajectoryMatchingSpec ranged = spec;
  if (!HasInput(files, "range")) return ranged;
  DASM_ASSIGN_OR_RETURN(const std::string path, InputPath(files, "range"));
  const auto bad = [&](absl::string_view what) {
    return WithFailureClass(
        absl::FailedPreconditionError(absl::StrCat("range ", path, ": ", what)),
        FailureClass::kData);
  };
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return bad(file.status().message());
  for (const auto& [name, value] :
       {std::pair("start_epoch_min", &ranged.start_epoch_min),
        std::pair("start_epoch_initial", &ranged.start_epoch_initial),
        std::pair("start_epoch_max", &ranged.start_epoch_max)}) {
    const auto view = (*file)->Get(name, DType::kI64, 1);
    if (!view.ok()) return bad(view.status().message());
    if (view->elements() != 1) {
      return bad(absl::StrCat(name, " is not one number"));
    }
    *value = static_cast<int>(*static_cast<const int64_t*>(view->data));
  }
  if (ranged.start_epoch_min < 0 ||
      ranged.start_epoch_max <= ranged.start_epoch_min ||
      ranged.start_epoch_initial > ranged.start_epoch_max) {
    return bad(absl::StrCat("start epochs from ", ranged.start_epoch_min,
                            " over ", ranged.start_epoch_initial, " to ",
                            ranged.start_epoch_max, " are no range"));
  }
  return ranged;
}

int NeededEpochs(const TrajectoryMatchingSpec& spec) {
  return std::max(spec.start_epoch_max - 1 + spec.matched_epochs,
                  spec.label_epoch);
}

absl::StatusOr<Experts> OpenExperts(const TaskFiles& files,
                                    const NetworkIdentity& network,
                                    const ImageData& data, int epochs) {
  Experts experts;
  for (const std::string& path : NumberedInputs(files, "expert")) {
    DASM_ASSIGN_OR_RETURN(std::unique_ptr<ExpertFile> expert,
                          ExpertFile::Open(path, network, data, epochs));
    experts.push_back(std::move(expert));
  }
  if (experts.empty()) return InputPath(files, "expert.1").status();
  return experts;
}

absl::StatusOr<std::unique_ptr<ExpertFile>> OpenProbe(
    const TaskFiles& files, const NetworkIdentity& network,
    const ImageData& data, int epochs) {
  if (!HasInput(files, "probe")) return nullptr;
  DASM_ASSIGN_OR_RETURN(const std::string path, InputPath(files, "probe"));
  return ExpertFile::Open(path, network, data, epochs);
}

int64_t PeakMemoryBytes(at::Device device) {
  if (!device.is_cpu() && InstalledPlugin() != nullptr) {
    return InstalledPlugin()
        ->Memory(std::max<int>(0, device.index()))
        .peak_allocated_bytes;
  }
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace dasm
