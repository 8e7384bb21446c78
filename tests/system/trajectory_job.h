// The jobs of the trajectory tests: a second or two of work each.
#ifndef DASM_TESTS_SYSTEM_TRAJECTORY_JOB_H_
#define DASM_TESTS_SYSTEM_TRAJECTORY_JOB_H_

#include <string>

#include "absl/strings/str_cat.h"

namespace dasm::testing_support {

// A job over the files of WriteTinyDataset as DATM has them: learned soft
// labels, images that experts classify correctly, a range that grows, GSAM
// experts. `sequence` replaces its one segment.
inline std::string TinyTrajectoryJob(
    const std::string& sequence = "sequence: {one_segment: {}}") {
  return absl::StrCat(R"(name: tiny-trajectory
dataset:
  idx:
    train_images: train-images
    train_labels: train-labels
    test_images: test-images
    test_labels: test-labels
images_per_class: 2
network: {name: convnet, depth: 2, width: 8, norm: instance}
matching:
  trajectory:
    iterations: 10
    student_steps: 4
    matched_epochs: 1
    start_epoch_min: 0
    start_epoch_initial: 1
    start_epoch_max: 2
    growth_iterations: 6
    batch: 4
    image_learning_rate: 10
    step_size: 0.02
    step_size_learning_rate: 1.0e-6
    labels: soft_learned
    label_learning_rate: 1
    skip_threshold: 2
    augmentation: [color, crop, cutout, flip, scale, rotate]
experts:
  count: 2
  epochs: 3
  batch: 32
  learning_rate: 0.05
  momentum: 0.9
  optimizer: gsam
  augmentation: [color, crop, cutout, flip, scale, rotate]
synthesis: {factor: 1, init: correct}
evaluation: {recipe: trajectory, repeats: 1, epochs: 20, batch: 8, baselines: [random]}
resources: {checkpoint_interval: 0.2}
)",
                      sequence, "\n");
}

// Two subsets one after the other, hard labels, as SeqMatch has it.
inline std::string TinySeqMatchJob() {
  std::string job =
      TinyTrajectoryJob("sequence: {seqmatch: {segments: [1, 1]}}");
  const auto replace = [&job](const std::string& from, const std::string& to) {
    job.replace(job.find(from), from.size(), to);
  };
  replace(
      "labels: soft_learned\n    label_learning_rate: 1\n    "
      "skip_threshold: 2",
      "labels: hard");
  // A step sees at most the first subset's three images.
  replace("batch: 4", "batch: 3");
  replace("optimizer: gsam", "optimizer: sgd");
  replace("init: correct", "init: real");
  return job;
}

// Two segments, the second one for what the first does not teach.
inline std::string TinyDasmTrajectoryJob() {
  std::string job = TinySeqMatchJob();
  const std::string from = "sequence: {seqmatch: {segments: [1, 1]}}";
  job.replace(job.find(from), from.size(),
              "sequence: {dasm: {segments: [1, 1], discriminators: 2, "
              "discriminator_steps: 40, reference_steps: 0}}");
  return job;
}

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_SYSTEM_TRAJECTORY_JOB_H_
