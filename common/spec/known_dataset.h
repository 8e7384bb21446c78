// What is published about the data sets that a spec can name: their shape,
// statistics, and the settings of IDC and DASM for them (Kim et al. 2022,
// reproduction table of the authors' code).
#ifndef DASM_COMMON_SPEC_KNOWN_DATASET_H_
#define DASM_COMMON_SPEC_KNOWN_DATASET_H_

#include <string>
#include <string_view>
#include <vector>

#include "common/spec/job_spec.h"

namespace dasm {

struct KnownDataset {
  std::string name;
  DatasetSpec::Format format = DatasetSpec::Format::kIdx;
  int classes = 0;
  int side = 0;
  int train_images = 0;
  int label_bytes = 1;
  // Of the training images in [0, 1]; the values that IDC uses.
  std::vector<double> mean;
  std::vector<double> std;
  // Those that DC uses where they differ.
  std::vector<double> dc_mean;
  std::vector<double> dc_std;

  Distance distance = Distance::kMse;
  double image_learning_rate = 5e-3;  // before the scaling rule
  int base_size = 32;                 // of the scaling rule
  int net_steps = 8;                  // n_data / 64
  // Mirrored digits are other digits, or none.
  bool flip = true;
  // Digits at factor > 1: no cutout, no CutMix anywhere.
  bool small_digits = false;
  // From this IPC on factor 1 is the better default.
  int factor1_from = 1 << 30;
  int discriminator_epochs = 300;
  // IPC of its presets.
  std::vector<int> images_per_class;

  int DefaultFactor(int ipc) const { return ipc >= factor1_from ? 1 : 2; }
};

// mnist, fashion-mnist, svhn, cifar-10, cifar-100; never destroyed.
const std::vector<KnownDataset>& KnownDatasets();
// Null when there is none of that name.
const KnownDataset* FindKnownDataset(std::string_view name);

// The length of an evaluation by the IDC recipe in epochs: 1000, and from
// 20,000 decoded images upwards IDC's ImageNet table over decoded images per
// class (two thirds of it, rounded down to hundreds, for 100 classes and more).
int IdcEvaluationEpochs(int64_t decoded_images, int classes);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_KNOWN_DATASET_H_
