#include "server/planner/graph_builder.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/planner/task_cost.h"

namespace dasm {

GraphBuilder::GraphBuilder(const JobSpec& spec, const ResolvedDataset& dataset)
    : spec_(spec), dataset_(dataset) {
  if (dataset_.classes == 0) dataset_.classes = spec.dataset.classes;
}

void GraphBuilder::AddDataset() {
  const DatasetSpec& d = spec_.dataset;
  PlannedTask& prepare =
      Add("prepare",
          PrepareDatasetParameters{
              .name = d.name,
              .format = nlohmann::json(d.format).get<std::string>(),
              .label_bytes = d.label_bytes,
              .image_size = d.image_size,
              .channels = d.channels,
              .classes = d.classes,
              .mean = d.mean,
              .std = d.std,
              .validation = d.validation},
          0);
  prepare.source_files = dataset_.files;
  dataset_.validation_images =
      std::llround(static_cast<double>(dataset_.train_images) * d.validation);
  dataset_.train_images -= dataset_.validation_images;
  if (d.preprocessing != Preprocessing::kZca) return;
  Add("whiten", WhitenDatasetParameters{}, 0).inputs["dataset"] =
      From("prepare", "dataset");
  dataset_.bytes_per_pixel = sizeof(float);
}

PlannedTask& GraphBuilder::Add(std::string id, TaskParameters parameters,
                               int64_t input_images,
                               const std::vector<int64_t>& parts) {
  PlannedTask task;
  task.id = std::move(id);
  task.cost = CostOf(parameters, dataset_, input_images, parts);
  task.parameters = std::move(parameters);
  graph_.tasks.push_back(std::move(task));
  return graph_.tasks.back();
}

PlannedTask& GraphBuilder::AddReader(std::string id, TaskParameters parameters,
                                     int64_t input_images,
                                     const std::vector<int64_t>& parts) {
  PlannedTask& task =
      Add(std::move(id), std::move(parameters), input_images, parts);
  const bool whitened = spec_.dataset.preprocessing == Preprocessing::kZca;
  task.inputs["dataset"] = From(whitened ? "whiten" : "prepare", "dataset");
  return task;
}

void GraphBuilder::AddSegmentInputs(int count, PlannedTask* task) {
  for (int j = 1; j <= count; ++j) {
    task->inputs[absl::StrCat("segment.", j)] =
        From(absl::StrCat("segment-", j), "segment");
  }
}

int64_t GraphBuilder::StoredIn(int k) const {
  return int64_t{spec_.sequence.segments[k - 1]} * dataset_.classes;
}

int64_t GraphBuilder::StoredUpTo(int count) const {
  int64_t images = 0;
  for (int k = 1; k <= count; ++k) images += StoredIn(k);
  return images;
}

std::vector<int64_t> GraphBuilder::DecodedParts(int count) const {
  std::vector<int64_t> parts;
  for (int k = 1; k <= count; ++k) {
    parts.push_back(StoredIn(k) * factor_squared());
  }
  return parts;
}

ExecutionSpec GraphBuilder::Uncut() const {
  ExecutionSpec execution = spec_.execution;
  execution.micro_batch = 0;
  return execution;
}

int GraphBuilder::FastRanks() const {
  return spec_.execution.reduction == ReductionOrder::kFast
             ? spec_.resources.ranks
             : 0;
}

}  // namespace dasm
