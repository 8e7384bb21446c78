#include "worker/engine/task/scores_file.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {
namespace {

absl::Status Bad(const std::string& path, absl::string_view what) {
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(path, ": ", what)),
      FailureClass::kData);
}

absl::Span<const float> Floats(const TensorView& view) {
  return {static_cast<const float*>(view.data),
          static_cast<size_t>(view.elements())};
}

}  // namespace

absl::StatusOr<ScoresFile> LoadScores(const std::string& path,
                                      const ImageData& data) {
  auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return Bad(path, file.status().message());
  const auto view = (*file)->Get("probabilities", DType::kF32, 2);
  if (!view.ok()) return Bad(path, view.status().message());
  if (view->shape[0] != data.train().size() ||
      view->shape[1] != data.classes()) {
    return Bad(path,
               absl::StrCat("scores of ", view->shape[0], " images and ",
                            view->shape[1], " classes, the data set has ",
                            data.train().size(), " and ", data.classes()));
  }
  ScoresFile scores;
  scores.probabilities = Floats(*view);
  if ((*file)->tensors().contains("feature_norm")) {
    const auto norm = (*file)->Get("feature_norm", DType::kF32, 1);
    if (!norm.ok()) return Bad(path, norm.status().message());
    if (norm->shape[0] != data.train().size()) {
      return Bad(path, "feature_norm is not that of the data set's images");
    }
    scores.feature_norm = Floats(*norm);
  }
  scores.file = *std::move(file);
  return scores;
}

absl::StatusOr<ClassImages> LoadRanking(const std::string& path,
                                        const ImageData& data) {
  auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return Bad(path, file.status().message());
  const auto view = (*file)->Get("order", DType::kI64, 1);
  if (!view.ok()) return Bad(path, view.status().message());
  const std::vector<int64_t>& labels = data.train().labels();
  const auto count = static_cast<int64_t>(labels.size());
  if (view->shape[0] != count) {
    return Bad(path, absl::StrCat("a ranking of ", view->shape[0],
                                  " images, the data set has ", count,
                                  "; score it again"));
  }
  const auto* order = static_cast<const int64_t*>(view->data);
  ClassImages ranked(data.classes());
  std::vector<bool> seen(count);
  for (int64_t i = 0; i < count; ++i) {
    const bool sound = order[i] >= 0 && order[i] < count && !seen[order[i]] &&
                       (i == 0 || labels[order[i - 1]] <= labels[order[i]]);
    if (!sound) {
      return Bad(path,
                 absl::StrCat("place ", i, " of its order holds ", order[i],
                              ": it is not each training image "
                              "once, class after class"));
    }
    seen[order[i]] = true;
    ranked[labels[order[i]]].push_back(order[i]);
  }
  return ranked;
}

}  // namespace dasm
