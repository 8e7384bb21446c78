#include "worker/runner/checkpoint.h"

#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr char kAction[] = "action_key";
constexpr char kStep[] = "step";
constexpr char kSeconds[] = "seconds";
constexpr size_t kKept = 2;

}  // namespace

std::string CheckpointFileName(int64_t step) {
  return absl::StrFormat("step-%012d.safetensors", step);
}

absl::Status WriteCheckpointFile(
    const std::string& path, const CheckpointInfo& info,
    const std::map<std::string, TensorView>& tensors) {
  return WriteSafetensors(path, tensors,
                          {{kAction, info.action},
                           {kStep, absl::StrCat(info.step)},
                           {kSeconds, absl::StrFormat("%.3f", info.seconds)}});
}

absl::StatusOr<CheckpointInfo> ReadCheckpointInfo(const std::string& path,
                                                  const std::string& action) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                        SafetensorsFile::Open(path));
  const auto value = [&](const char* key) {
    const auto found = file->metadata().find(key);
    return found == file->metadata().end() ? std::string() : found->second;
  };
  CheckpointInfo info;
  info.action = value(kAction);
  if (info.action != action) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is a checkpoint of action \"", info.action,
                     "\", not of ", action));
  }
  if (!absl::SimpleAtoi(value(kStep), &info.step) || info.step < 0 ||
      !absl::SimpleAtod(value(kSeconds), &info.seconds) ||
      !(info.seconds >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " lacks step or seconds in its metadata"));
  }
  return info;
}

absl::Status RemoveOldCheckpoints(const std::string& folder) {
  FileSystem* const fs = LocalFileSystem();
  DASM_ASSIGN_OR_RETURN(std::vector<std::string> names, fs->List(folder));
  std::erase_if(names, [](const std::string& name) {
    return !absl::StartsWith(name, "step-") ||
           !absl::EndsWith(name, ".safetensors");
  });
  for (size_t i = 0; i + kKept < names.size(); ++i) {
    DASM_RETURN_IF_ERROR(fs->Remove(absl::StrCat(folder, "/", names[i])));
  }
  return absl::OkStatus();
}

}  // namespace dasm
