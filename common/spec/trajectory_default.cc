#include "common/spec/trajectory_default.h"

#include <vector>

#include "common/spec/spec_enums.h"
#include "common/spec/spec_writer.h"
#include "common/spec/trajectory_writer.h"

namespace dasm {
namespace {

// DSA's operations.
std::vector<Augmentation> Operations(bool flip) {
  using enum Augmentation;
  return flip ? std::vector{kColor, kCrop, kCutout, kFlip, kScale, kRotate}
              : std::vector{kColor, kCrop, kCutout, kScale, kRotate};
}

// That of DATM's smaller rows, for labels that are learned without a row.
constexpr double kLabelRate = 2;

}  // namespace

void SetTrajectory(const TrajectoryRow& row, bool flip, v1::JobSpec* spec) {
  TrajectoryMatchingSpec matching;
  matching.student_steps = row.student_steps;
  matching.matched_epochs = row.matched_epochs;
  matching.start_epoch_min = row.start_epoch_min;
  matching.start_epoch_initial = row.start_epoch_initial;
  matching.start_epoch_max = row.start_epoch_max;
  matching.growth_iterations = row.growth_iterations;
  matching.batch = row.batch;
  matching.image_learning_rate = row.image_learning_rate;
  matching.step_size = row.step_size;
  matching.step_size_learning_rate = row.step_size_learning_rate;
  matching.labels =
      row.label_learning_rate > 0 ? Labels::kSoftLearned : Labels::kHard;
  matching.label_learning_rate =
      row.label_learning_rate > 0 ? row.label_learning_rate : kLabelRate;
  matching.augmentation = Operations(flip);
  v1::TrajectoryMatching& to = *spec->mutable_matching()->mutable_trajectory();
  WriteTrajectory(matching, &to);
  // Follows from start_epoch_max.
  if (row.start_epoch_initial == 0) to.clear_start_epoch_initial();

  ExpertSpec experts;
  experts.training.augmentation = Operations(flip);
  WriteExperts(experts, spec->mutable_experts());
}

void SetTrajectoryRecipe(bool soft_labels, bool flip,
                         v1::EvaluationSpec* evaluation) {
  evaluation->set_recipe(v1::EvaluationSpec::RECIPE_TRAJECTORY);
  evaluation->set_batch(soft_labels ? 128 : 256);
  evaluation->set_learning_rate(0);
  evaluation->set_cutmix(0);
  WriteAugmentations(Operations(flip), evaluation->mutable_augmentation());
}

}  // namespace dasm
