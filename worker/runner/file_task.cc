#include "worker/runner/file_task.h"

#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/dataset/reader.h"
#include "worker/runner/prepare/prepare_task.h"

namespace dasm {
namespace {

// Empty when there is none.
std::string InputOrEmpty(const TaskFiles& files, const std::string& name) {
  const auto found = files.inputs.find(name);
  return found == files.inputs.end() ? std::string() : found->second;
}

}  // namespace

absl::StatusOr<TaskOutcome> RunFileTask(const TaskParameters& parameters,
                                        const worker::v1::TaskFile& task,
                                        const TaskFiles& files,
                                        TaskObserver* observer) {
  std::vector<ResolvedFile> sources;
  for (const worker::v1::SourceFile& source : task.source_files()) {
    sources.push_back({source.role(), source.path(), source.digest()});
  }
  const auto outcome = [&](const std::string& output,
                           const auto& run) -> absl::StatusOr<TaskOutcome> {
    const std::string file = absl::StrCat(output, ".safetensors");
    DASM_ASSIGN_OR_RETURN(const std::string summary,
                          run(absl::StrCat(files.output_dir, "/", file)));
    return TaskOutcome{summary, {{output, file}}};
  };
  if (const auto* prepare =
          std::get_if<PrepareDatasetParameters>(&parameters)) {
    observer->Line("INFO", absl::StrCat("reading ", prepare->name));
    return outcome("dataset", [&](const std::string& path) {
      return RunPrepareDataset(*prepare, sources, path);
    });
  }
  if (const auto* import = std::get_if<ImportSetParameters>(&parameters)) {
    return outcome("set", [&](const std::string& path) {
      return RunImportSet(*import, sources, InputOrEmpty(files, "source"),
                          InputOrEmpty(files, "dataset"), path);
    });
  }
  if (const auto* import = std::get_if<ImportScoresParameters>(&parameters)) {
    return outcome("ranking", [&](const std::string& path) {
      return RunImportScores(*import, sources, InputOrEmpty(files, "dataset"),
                             path);
    });
  }
  return absl::InvalidArgumentError(
      absl::StrCat(task.kind(), " does not read files"));
}

}  // namespace dasm
