#include "worker/engine/task/training_set.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/set_data.h"
#include "worker/engine/parameterization/multi_formation.h"
#include "worker/engine/task/task_context.h"

namespace dasm {
namespace {

absl::Status BadSet(const std::string& path, absl::string_view what) {
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(path, ": ", what)),
      FailureClass::kData);
}

// The images [begin, end) of a file.
struct Part {
  int64_t begin = 0;
  int64_t end = 0;
};

// Runs of equal segment numbers.
std::vector<Part> PartsOf(const SetData& set) {
  const int32_t* number = set.segment.const_data_ptr<int32_t>();
  std::vector<Part> parts;
  for (int64_t i = 0; i < set.segment.numel(); ++i) {
    if (i == 0 || number[i] != number[i - 1]) parts.push_back({i, i});
    parts.back().end = i + 1;
  }
  return parts;
}

SetData Rows(const SetData& set, const Part& part) {
  const auto rows = [&part](const at::Tensor& tensor) {
    return tensor.defined()
               ? tensor.narrow(0, part.begin, part.end - part.begin)
               : tensor;
  };
  SetData some = set;
  some.images = rows(set.images);
  some.labels = rows(set.labels);
  some.segment = rows(set.segment);
  some.source = rows(set.source);
  some.label_logits = rows(set.label_logits);
  return some;
}

// Of a data set; empty for one that is not whitened, or is older than the name.
std::string WhiteningOf(const ImageData& data) {
  const auto found = data.file().metadata().find(kWhitening);
  return found == data.file().metadata().end() ? "" : found->second;
}

absl::Status CheckWhitening(const SetData& set, const std::string& path,
                            const ImageData& data) {
  if (set.whitening.empty()) return absl::OkStatus();
  if (data.preprocessing() != Preprocessing::kZca) {
    return BadSet(path, absl::StrCat("its images are whitened (", set.whitening,
                                     ") and ", data.name(),
                                     " is not; set dataset.preprocessing zca"));
  }
  const std::string whitening = WhiteningOf(data);
  if (whitening.empty() || whitening == set.whitening) return absl::OkStatus();
  return BadSet(
      path,
      absl::StrCat("its images are whitened otherwise (", set.whitening,
                   ") than ", data.name(), " (", whitening,
                   "); give the dataset (files, validation share) that the set "
                   "was made of"));
}

absl::Status CheckUse(const SetData& set, const std::string& path,
                      const ImageData& data, const TrainingRecipe& recipe) {
  DASM_RETURN_IF_ERROR(CheckSet(set, data, path));
  if (!set.preprocessed && data.preprocessing() == Preprocessing::kZca) {
    return BadSet(
        path, absl::StrCat("its images are pixels and ", data.name(),
                           " is whitened; use a set that was made of whitened "
                           "data, or dataset.preprocessing normalize"));
  }
  DASM_RETURN_IF_ERROR(CheckWhitening(set, path, data));
  if (set.label_logits.defined() && recipe.recipe != Recipe::kTrajectory) {
    return BadSet(path,
                  "it has soft labels, which only evaluation.recipe trajectory "
                  "trains towards");
  }
  return absl::OkStatus();
}

// One a part.
absl::StatusOr<std::vector<double>> StepSizes(const SetData& set,
                                              const std::string& path,
                                              size_t parts,
                                              const TrainingRecipe& recipe) {
  if (recipe.recipe != Recipe::kTrajectory || recipe.learning_rate != 0) {
    return std::vector<double>(parts, recipe.learning_rate);
  }
  if (!set.step_size.defined()) {
    return BadSet(path,
                  "no step size was learned with it; give one as "
                  "evaluation.learning_rate");
  }
  if (set.step_size.numel() != static_cast<int64_t>(parts)) {
    return BadSet(path, absl::StrCat("it has ", set.step_size.numel(),
                                     " step sizes for ", parts,
                                     " segments; give one for all as "
                                     "evaluation.learning_rate"));
  }
  const float* first = set.step_size.const_data_ptr<float>();
  return std::vector<double>(first, first + parts);
}

// Decoded images, tile after tile.
struct Decoded {
  at::Tensor images;
  at::Tensor labels;
  at::Tensor targets;  // undefined without soft labels
};

Decoded Decode(const SetData& set, const ImageData& data) {
  const MultiFormation formation(set.factor);
  Decoded decoded;
  decoded.images = formation.Decode(set.images);
  if (!set.preprocessed) {
    decoded.images = data.normalization().Apply(decoded.images);
  }
  decoded.labels = formation.DecodeLabels(set.labels);
  if (set.label_logits.defined()) {
    const at::Tensor rows =
        formation.DecodeLabels(at::arange(set.labels.numel(), at::kLong));
    decoded.targets = set.label_logits.softmax(1).index_select(0, rows);
  }
  return decoded;
}

}  // namespace

absl::StatusOr<TrainingSet> LoadTrainingSet(const TaskFiles& files,
                                            const std::string& prefix,
                                            const ImageData& data,
                                            const TrainingRecipe& recipe,
                                            Order order) {
  std::vector<SetData> sets;
  std::vector<double> step_sizes;
  for (const std::string& path : NumberedInputs(files, prefix)) {
    DASM_ASSIGN_OR_RETURN(SetData set, LoadSet(path));
    DASM_RETURN_IF_ERROR(CheckUse(set, path, data, recipe));
    const std::vector<Part> parts = PartsOf(set);
    DASM_ASSIGN_OR_RETURN(const std::vector<double> own,
                          StepSizes(set, path, parts.size(), recipe));
    step_sizes.insert(step_sizes.end(), own.begin(), own.end());
    if (order == Order::kUnion) {
      sets.push_back(std::move(set));
      continue;
    }
    for (const Part& part : parts) sets.push_back(Rows(set, part));
  }
  if (sets.empty()) return InputPath(files, prefix + ".1").status();
  // Also says whether they can be joined.
  DASM_ASSIGN_OR_RETURN(SetData all, ConcatenateSets(sets));
  TrainingSet result;
  result.factor = all.factor;
  if (order == Order::kUnion) {
    sets = {std::move(all)};
    step_sizes = {step_sizes.back()};
  }
  // Each alone, so that tiles of different segments do not mix.
  std::vector<at::Tensor> images, labels, targets;
  for (size_t k = 0; k < sets.size(); ++k) {
    Decoded decoded = Decode(sets[k], data);
    result.segments.push_back({decoded.labels.numel(), step_sizes[k]});
    images.push_back(std::move(decoded.images));
    labels.push_back(std::move(decoded.labels));
    if (decoded.targets.defined()) {
      targets.push_back(std::move(decoded.targets));
    }
  }
  const at::Tensor all_labels = at::cat(labels);
  const int64_t* first = all_labels.const_data_ptr<int64_t>();
  result.images = std::make_unique<TensorSource>(
      at::cat(images), std::vector<int64_t>(first, first + all_labels.numel()),
      targets.empty() ? at::Tensor() : at::cat(targets));
  return result;
}

}  // namespace dasm
