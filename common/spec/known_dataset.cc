#include "common/spec/known_dataset.h"

#include <algorithm>

namespace dasm {

const std::vector<KnownDataset>& KnownDatasets() {
  static const auto* const kDatasets = new std::vector<KnownDataset>{
      {.name = "mnist",
       .format = DatasetSpec::Format::kIdx,
       .classes = 10,
       .side = 28,
       .train_images = 60000,
       .mean = {0.1307},
       .std = {0.3081},
       .distance = Distance::kL1,
       .image_learning_rate = 1e-4,
       .base_size = 28,
       .flip = false,
       .small_digits = true,
       .discriminator_epochs = 200,
       .images_per_class = {1, 10, 50}},
      // 28 pixels, but IDC's rule takes 32 as its base.
      {.name = "fashion-mnist",
       .format = DatasetSpec::Format::kIdx,
       .classes = 10,
       .side = 28,
       .train_images = 60000,
       .mean = {0.2861},
       .std = {0.3530},
       .distance = Distance::kL1,
       .image_learning_rate = 1e-4,
       .factor1_from = 50,
       .images_per_class = {1, 10, 50}},
      {.name = "svhn",
       .format = DatasetSpec::Format::kSvhnMat,
       .classes = 10,
       .side = 32,
       .train_images = 73257,
       .mean = {0.4377, 0.4438, 0.4728},
       .std = {0.1980, 0.2010, 0.1970},
       .flip = false,
       .images_per_class = {1, 10, 50}},
      {.name = "cifar-10",
       .format = DatasetSpec::Format::kCifarBinary,
       .classes = 10,
       .side = 32,
       .train_images = 50000,
       .mean = {0.4914, 0.4822, 0.4465},
       .std = {0.2023, 0.1994, 0.2010},
       .net_steps = 32,
       .images_per_class = {1, 10, 50, 100, 200, 500, 1000}},
      {.name = "cifar-100",
       .format = DatasetSpec::Format::kCifarBinary,
       .classes = 100,
       .side = 32,
       .train_images = 50000,
       .label_bytes = 2,
       .mean = {0.4914, 0.4822, 0.4465},
       .std = {0.2023, 0.1994, 0.2010},
       .dc_mean = {0.5071, 0.4866, 0.4409},
       .dc_std = {0.2673, 0.2564, 0.2762},
       .net_steps = 32,
       .images_per_class = {1, 10, 50}},
  };
  return *kDatasets;
}

const KnownDataset* FindKnownDataset(std::string_view name) {
  for (const KnownDataset& dataset : KnownDatasets()) {
    if (dataset.name == name) return &dataset;
  }
  return nullptr;
}

int IdcEvaluationEpochs(int64_t decoded_images, int classes) {
  constexpr int64_t kLong = 20000;
  if (decoded_images < kLong) return 1000;
  const int64_t per_class = decoded_images / std::max(classes, 1);
  int epochs = 300;
  if (per_class <= 1) {
    epochs = 3000;
  } else if (per_class <= 10) {
    epochs = 2000;
  } else if (per_class <= 50) {
    epochs = 1500;
  } else if (per_class <= 200) {
    epochs = 1000;
  } else if (per_class <= 500) {
    epochs = 500;
  }
  return classes >= 100 ? epochs * 2 / 3 / 100 * 100 : epochs;
}

}  // namespace dasm
