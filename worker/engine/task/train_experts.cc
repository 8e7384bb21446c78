#include "worker/engine/task/train_experts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/task/expert_group.h"
#include "worker/engine/task/pool_file.h"
#include "worker/engine/task/scores_file.h"
#include "worker/engine/task/training_set.h"
#include "worker/engine/teacher/epoch_data.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {
namespace {

constexpr int64_t kAccuracyImages = 2000;

absl::StatusOr<EpochData::Images> LoadImages(
    const TrainExpertsParameters& parameters, const TaskContext& context,
    const ImageData& data) {
  EpochData::Images images;
  images.ranked = data.train_by_class();
  if (HasInput(context.files, "pool")) {
    DASM_ASSIGN_OR_RETURN(const std::string path,
                          InputPath(context.files, "pool"));
    DASM_ASSIGN_OR_RETURN(const PoolFile pool,
                          LoadPool(path, data.train().size()));
    for (const std::vector<int64_t>& whole : data.train_by_class()) {
      std::vector<int64_t>& members = images.pool.emplace_back();
      std::vector<int64_t>& others = images.others.emplace_back();
      for (int64_t i : whole) (pool.members[i] ? members : others).push_back(i);
    }
  } else if (parameters.training.schedule.enabled) {
    DASM_ASSIGN_OR_RETURN(const std::string path,
                          InputPath(context.files, "ranking"));
    DASM_ASSIGN_OR_RETURN(images.ranked, LoadRanking(path, data));
  }
  return images;
}

absl::StatusOr<double> TrainingAccuracy(
    const TrainExpertsParameters& parameters, const TrainedExperts& trained,
    const Network& network, const ImageSource& train,
    const TaskContext& context) {
  const int64_t count = std::min(kAccuracyImages, train.size());
  std::vector<int64_t> indices(count);
  for (int64_t i = 0; i < count; ++i) indices[i] = i * train.size() / count;
  const at::Tensor labels = train.Labels(indices);
  const int64_t* first = labels.const_data_ptr<int64_t>();
  const TensorSource some(train.Normalised(indices),
                          std::vector<int64_t>(first, first + count));
  double sum = 0;
  for (const TrainingState& expert : trained.experts) {
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor logits,
        Logits(network, expert.parameters, expert.buffers, some,
               parameters.execution, context.collective, context.graph));
    sum += Accuracy(Predictions(logits), some.labels());
  }
  return sum / static_cast<double>(trained.experts.size());
}

}  // namespace

absl::StatusOr<TaskOutcome> TrainExperts(
    const TrainExpertsParameters& parameters, const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  if (parameters.training.batch > data->train().size()) {
    return InvalidField(
        "experts.batch",
        absl::StrCat(parameters.training.batch, " is more than the ",
                     data->train().size(), " training images of ", data->name(),
                     "; set it to at most that"));
  }
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  DASM_ASSIGN_OR_RETURN(EpochData::Images images,
                        LoadImages(parameters, context, *data));
  const EpochData epochs(parameters.training, std::move(images));
  std::optional<TrainingSet> start;
  if (parameters.start.trained) {
    DASM_ASSIGN_OR_RETURN(
        start,
        LoadTrainingSet(context.files, "segment", *data,
                        parameters.start.training, parameters.start.order));
  }

  Outputs outputs(context);
  ExpertGroup group({parameters, *network, *data, epochs,
                     start.has_value() ? &*start : nullptr},
                    context);
  DASM_ASSIGN_OR_RETURN(const TrainedExperts trained, group.Run(&outputs));
  DASM_ASSIGN_OR_RETURN(
      const double accuracy,
      TrainingAccuracy(parameters, trained, *network, data->train(), context));
  return outputs.Finish({{"epochs", parameters.training.epochs},
                         {"final_loss", trained.final_loss},
                         {"training_accuracy", accuracy}});
}

}  // namespace dasm
