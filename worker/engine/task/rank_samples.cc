#include "worker/engine/task/rank_samples.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/dataset/ranking.h"
#include "worker/engine/score/difficulty.h"
#include "worker/engine/task/scores_file.h"

namespace dasm {
namespace {

absl::StatusOr<std::vector<double>> Difficulty(ScoreRule rule,
                                               const std::string& path,
                                               const ImageData& data) {
  DASM_ASSIGN_OR_RETURN(const ScoresFile scores, LoadScores(path, data));
  const std::vector<int64_t>& labels = data.train().labels();
  switch (rule) {
    case ScoreRule::kEl2n:
      return El2n(scores.probabilities, labels);
    case ScoreRule::kGrand:
      if (!scores.feature_norm.empty()) {
        return Grand(scores.probabilities, scores.feature_norm, labels);
      }
      return WithFailureClass(
          absl::FailedPreconditionError(absl::StrCat(
              path, ": no feature_norm; score the samples with grand")),
          FailureClass::kData);
    case ScoreRule::kFile:
      break;
  }
  return absl::InvalidArgumentError(
      "rank_samples: a score file is read by import_scores");
}

}  // namespace

absl::StatusOr<TaskOutcome> RankSamples(const RankSamplesParameters& parameters,
                                        const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  const std::vector<std::string> paths =
      NumberedInputs(context.files, "scores");
  if (paths.empty()) return InputPath(context.files, "scores.1").status();
  const std::vector<int64_t>& labels = data->train().labels();
  std::vector<double> sums(labels.size());
  for (const std::string& path : paths) {
    DASM_ASSIGN_OR_RETURN(const std::vector<double> one,
                          Difficulty(parameters.rule, path, *data));
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += one[i];
  }
  std::vector<float> scores(sums.size());
  double total = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    const double mean = sums[i] / static_cast<double>(paths.size());
    scores[i] = static_cast<float>(mean);
    total += mean;
  }
  Outputs outputs(context);
  if (context.InCharge()) {
    const absl::Status written = WriteRanking(
        outputs.Path("ranking"), scores, RankByScore(scores, labels),
        nlohmann::json(parameters.rule).get<std::string>());
    if (!written.ok()) return WithFailureClass(written, FailureClass::kStorage);
    outputs.Add("ranking");
  }
  return outputs.Finish(
      {{"runs", paths.size()},
       {"mean_score", total / static_cast<double>(sums.size())}});
}

}  // namespace dasm
