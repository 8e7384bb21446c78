#include "tests/support/tiny_dataset.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/base/random_stream.h"

namespace dasm::testing_support {
namespace {

void BigEndian(std::ofstream* file, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    file->put(static_cast<char>(value >> shift));
  }
}

void WriteSplit(const TinyDataset& options, const std::string& folder,
                const std::string& split, int per_class) {
  const int count = per_class * options.classes;
  std::ofstream images(absl::StrCat(folder, "/", split, "-images"),
                       std::ios::binary);
  std::ofstream labels(absl::StrCat(folder, "/", split, "-labels"),
                       std::ios::binary);
  BigEndian(&images, 0x803);
  BigEndian(&images, count);
  BigEndian(&images, options.side);
  BigEndian(&images, options.side);
  BigEndian(&labels, 0x801);
  BigEndian(&labels, count);
  const RandomStream noise(7, absl::StrCat("tiny.", split));
  for (int i = 0; i < count; ++i) {
    const int label = i % options.classes;
    labels.put(static_cast<char>(label));
    RandomSequence draws = noise.At(i);
    const double phase = draws.Uniform(-0.6, 0.6);
    for (int y = 0; y < options.side; ++y) {
      for (int x = 0; x < options.side; ++x) {
        const double wave =
            std::sin((label + 1) * 0.35 * (label % 2 == 0 ? x : y) + phase);
        const double value = 128 + 70 * wave + 45 * draws.Normal();
        images.put(static_cast<char>(
            static_cast<uint8_t>(std::clamp(value, 0.0, 255.0))));
      }
    }
  }
}

}  // namespace

void WriteTinyDataset(const TinyDataset& options, const std::string& folder) {
  WriteSplit(options, folder, "train", options.train_per_class);
  WriteSplit(options, folder, "test", options.test_per_class);
}

std::string TinyJob() {
  return R"(name: tiny
dataset:
  idx:
    train_images: train-images
    train_labels: train-labels
    test_images: test-images
    test_labels: test-labels
images_per_class: 2
network: {name: convnet, depth: 2, width: 8, norm: instance}
matching:
  gradient:
    distance: l1
    inits: 4
    later_inits: 4
    steps_per_init: 10
    real_batch: 16
    image_learning_rate: 0.01
    augmentation: [color, crop, cutout]
    net_steps: 4
    net_batch: 32
    net_augmentation: [color, crop]
synthesis: {factor: 2}
sequence:
  dasm: {segments: [1, 1], discriminators: 2, discriminator_steps: 60, reference_steps: 0}
evaluation: {repeats: 1, steps: 60, baselines: [random, tiles, start]}
resources: {checkpoint_interval: 0.2}
)";
}

}  // namespace dasm::testing_support
