#include "common/spec/trajectory_writer.h"

#include "common/spec/spec_enums.h"
#include "common/spec/spec_writer.h"

namespace dasm {

void WriteTrajectory(const TrajectoryMatchingSpec& from,
                     v1::TrajectoryMatching* to) {
  to->set_estimator(ToProto(from.estimator));
  to->set_iterations(from.iterations);
  to->set_student_steps(from.student_steps);
  to->set_matched_epochs(from.matched_epochs);
  to->set_start_epoch_min(from.start_epoch_min);
  to->set_start_epoch_initial(from.start_epoch_initial);
  to->set_start_epoch_max(from.start_epoch_max);
  to->set_growth_iterations(from.growth_iterations);
  to->set_find_range(from.find_range);
  to->set_batch(from.batch);
  to->set_image_learning_rate(static_cast<float>(from.image_learning_rate));
  to->set_image_momentum(static_cast<float>(from.image_momentum));
  to->set_step_size(static_cast<float>(from.step_size));
  to->set_step_size_learning_rate(
      static_cast<float>(from.step_size_learning_rate));
  to->set_step_size_momentum(static_cast<float>(from.step_size_momentum));
  to->set_step_size_form(ToProto(from.step_size_form));
  to->set_labels(ToProto(from.labels));
  to->set_label_experts(ToProto(from.label_experts));
  to->set_label_epoch(from.label_epoch);
  to->set_label_learning_rate(static_cast<float>(from.label_learning_rate));
  to->set_label_momentum(static_cast<float>(from.label_momentum));
  to->set_skip_threshold(static_cast<float>(from.skip_threshold));
  to->set_pixel_ema(static_cast<float>(from.pixel_ema));
  to->set_mask_from(static_cast<float>(from.mask_from));
  to->set_mask_to(static_cast<float>(from.mask_to));
  to->set_mask_smallest(static_cast<float>(from.mask_smallest));
  to->set_trajectories_per_step(from.trajectories_per_step);
  WriteAugmentations(from.augmentation, to->mutable_augmentation());
  to->set_snapshot_interval(from.snapshot_interval);
  to->set_probe_interval(from.probe_interval);
}

void WriteExperts(const ExpertSpec& from, v1::ExpertSpec* to) {
  const ExpertTraining& training = from.training;
  to->set_count(from.count);
  to->set_epochs(training.epochs);
  to->set_batch(training.batch);
  to->set_learning_rate(static_cast<float>(training.learning_rate));
  to->set_momentum(static_cast<float>(training.momentum));
  to->set_weight_decay(static_cast<float>(training.weight_decay));
  to->set_optimizer(ToProto(training.optimizer));
  to->set_gsam_rho(static_cast<float>(training.gsam_rho));
  to->set_gsam_alpha(static_cast<float>(training.gsam_alpha));
  WriteAugmentations(training.augmentation, to->mutable_augmentation());
  to->set_seed(from.seed);
  to->set_group(from.group);
  to->clear_schedule();
  const DataScheduleSpec& schedule = training.schedule;
  if (!schedule.enabled) return;
  v1::DataSchedule& out = *to->mutable_schedule();
  out.set_initial_share(static_cast<float>(schedule.initial_share));
  out.set_growth_epochs(schedule.growth_epochs);
  for (const DataScheduleSpec::Removal& removal : schedule.removals) {
    v1::DataSchedule::Removal& added = *out.add_removals();
    added.set_after_epoch(removal.after_epoch);
    added.set_share(static_cast<float>(removal.share));
  }
  out.set_gradual(schedule.gradual);
  out.set_score(ToProto(from.score));
  out.set_score_runs(from.score_runs);
  out.set_score_epoch(from.score_epoch);
  if (from.score == ScoreRule::kFile) out.set_score_file(from.score_file);
}

void WriteStages(const std::vector<StageSpec>& from,
                 google::protobuf::RepeatedPtrField<v1::Stage>* to) {
  to->Clear();
  for (const StageSpec& stage : from) {
    v1::Stage& added = *to->Add();
    added.set_iterations(stage.iterations);
    added.set_student_steps(stage.student_steps);
    added.set_matched_epochs(stage.matched_epochs);
    added.set_start_epoch_min(stage.start_epoch_min);
    added.set_start_epoch_initial(stage.start_epoch_initial);
    added.set_start_epoch_max(stage.start_epoch_max);
    added.set_growth_iterations(stage.growth_iterations);
    added.set_batch(stage.batch);
    added.set_step_size(static_cast<float>(stage.step_size));
    added.set_expert_epochs(stage.expert_epochs);
  }
}

}  // namespace dasm
