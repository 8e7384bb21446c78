#include "worker/engine/task/task_context.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/random_stream.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {

absl::StatusOr<std::string> InputPath(const TaskFiles& files,
                                      const std::string& name) {
  const auto found = files.inputs.find(name);
  if (found == files.inputs.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the task lacks its input \"", name,
                     "\": planner and runner are of different releases"));
  }
  return found->second;
}

bool HasInput(const TaskFiles& files, const std::string& name) {
  return files.inputs.contains(name);
}

std::vector<std::string> NumberedInputs(const TaskFiles& files,
                                        const std::string& prefix) {
  std::vector<std::string> paths;
  for (int k = 1;; ++k) {
    const auto found = files.inputs.find(absl::StrCat(prefix, ".", k));
    if (found == files.inputs.end()) return paths;
    paths.push_back(found->second);
  }
}

absl::StatusOr<std::unique_ptr<ImageData>> OpenDataset(const TaskFiles& files) {
  DASM_ASSIGN_OR_RETURN(const std::string path, InputPath(files, "dataset"));
  return ImageData::Open(path);
}

absl::Status CheckSet(const SetData& set, const ImageData& data,
                      const std::string& path) {
  const ImageShape shape = data.shape();
  const bool fits = set.images.size(1) == shape.channels &&
                    set.images.size(2) == shape.height &&
                    set.images.size(3) == shape.width;
  const bool labelled = set.labels.numel() > 0 &&
                        set.labels.min().item<int64_t>() >= 0 &&
                        set.labels.max().item<int64_t>() < data.classes() &&
                        (!set.label_logits.defined() ||
                         set.label_logits.size(1) == data.classes());
  if (fits && labelled) return absl::OkStatus();
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(
          path, ": ",
          fits ? "its labels are not those of " : "its images do not fit ",
          data.name(), " (", shape.channels, "x", shape.height, "x",
          shape.width, ", ", data.classes(), " classes)")),
      FailureClass::kData);
}

absl::StatusOr<SetData> LoadUnion(const TaskFiles& files,
                                  const std::string& prefix,
                                  const ImageData& data) {
  std::vector<SetData> sets;
  for (const std::string& path : NumberedInputs(files, prefix)) {
    DASM_ASSIGN_OR_RETURN(SetData set, LoadSet(path));
    DASM_RETURN_IF_ERROR(CheckSet(set, data, path));
    sets.push_back(std::move(set));
  }
  if (sets.empty()) return InputPath(files, prefix + ".1").status();
  return ConcatenateSets(sets);
}

uint64_t DerivedSeed(uint64_t seed, std::string_view purpose, uint32_t index) {
  RandomSequence draws = RandomStream(seed, purpose).At(index);
  const uint64_t high = draws.Next();
  return high << 32 | draws.Next();
}

absl::Status Outputs::Write(
    const std::string& name, const std::map<std::string, at::Tensor>& tensors,
    const std::map<std::string, std::string>& metadata) {
  if (!context_.InCharge()) return absl::OkStatus();
  std::map<std::string, at::Tensor> contiguous;
  std::map<std::string, TensorView> views;
  for (const auto& [key, tensor] : tensors) {
    contiguous[key] = tensor.contiguous();
    views[key] = ViewOf(contiguous[key]);
  }
  const std::string file = name + ".safetensors";
  const absl::Status status = WriteSafetensors(
      absl::StrCat(context_.files.output_dir, "/", file), views, metadata);
  if (!status.ok()) return WithFailureClass(status, FailureClass::kStorage);
  files_[name] = file;
  return absl::OkStatus();
}

absl::Status Outputs::WriteSet(const std::string& name, const SetData& set,
                               std::map<std::string, std::string> metadata,
                               const std::map<std::string, at::Tensor>& more) {
  std::map<std::string, at::Tensor> tensors = more;
  tensors["images"] = set.images;
  tensors["labels"] = set.labels;
  tensors["segment"] = set.segment;
  if (set.source.defined()) tensors["source"] = set.source;
  if (set.label_logits.defined()) tensors["label_logits"] = set.label_logits;
  if (set.step_size.defined()) tensors["step_size"] = set.step_size;
  if (set.preprocessed) metadata["space"] = "preprocessed";
  metadata["factor"] = absl::StrCat(set.factor);
  return Write(name, tensors, metadata);
}

absl::Status Outputs::WriteBytes(const std::string& name,
                                 const std::string& file,
                                 std::string_view bytes) {
  if (!context_.InCharge()) return absl::OkStatus();
  const absl::Status status = WriteFileAtomically(
      LocalFileSystem(), absl::StrCat(context_.files.output_dir, "/", file),
      bytes);
  if (!status.ok()) return WithFailureClass(status, FailureClass::kStorage);
  files_[name] = file;
  return absl::OkStatus();
}

std::string Outputs::Path(const std::string& name) const {
  return absl::StrCat(context_.files.output_dir, "/", name, ".safetensors");
}

void Outputs::Add(const std::string& name) {
  files_[name] = name + ".safetensors";
}

TaskOutcome Outputs::Finish(const nlohmann::json& summary) const {
  return {summary.dump(), files_};
}

}  // namespace dasm
