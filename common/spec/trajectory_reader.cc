#include "common/spec/trajectory_reader.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/spec/spec_enums.h"

namespace dasm {
namespace {

constexpr int kMaxIterations = 10'000'000;
constexpr int kMaxSteps = 100'000;
constexpr int kMaxEpochs = 100'000;
constexpr int kMaxBatch = 1'000'000;
constexpr double kMaxRate = 1e9;
constexpr double kMaxStepSize = 100;

std::string Field(const char* member) {
  return absl::StrCat("matching.trajectory.", member);
}

std::string ExpertField(const char* member) {
  return absl::StrCat("experts.", member);
}

const google::protobuf::RepeatedPtrField<v1::Stage>& StagesOf(
    const v1::SequenceSpec& from) {
  return from.has_seqmatch() ? from.seqmatch().stages() : from.dasm().stages();
}

std::string StagePath(const v1::SequenceSpec& from) {
  return from.has_seqmatch() ? "sequence.seqmatch.stages"
                             : "sequence.dasm.stages";
}

DataScheduleSpec ReadSchedule(const v1::DataSchedule& from,
                              FieldReader* reader) {
  DataScheduleSpec to;
  const auto path = [](const char* member) {
    return absl::StrCat("experts.schedule.", member);
  };
  to.initial_share =
      from.has_initial_share()
          ? reader->Positive(path("initial_share"), from.initial_share(), 1)
          : 1;
  to.growth_epochs = reader->Within(path("growth_epochs"), from.growth_epochs(),
                                    0, kMaxEpochs);
  if (to.initial_share < 1 && to.growth_epochs == 0) {
    reader->Refuse(path("growth_epochs"),
                   "is required with an initial_share below 1: the epoch at "
                   "which the whole class is used, e.g. 20");
  }
  if (to.initial_share == 1) to.growth_epochs = 0;
  for (int i = 0; i < from.removals_size(); ++i) {
    const v1::DataSchedule::Removal& removal = from.removals(i);
    const std::string at = absl::StrCat("experts.schedule.removals[", i, "]");
    to.removals.push_back(
        {.after_epoch = reader->Within(absl::StrCat(at, ".after_epoch"),
                                       removal.after_epoch(), 0, kMaxEpochs),
         .share =
             reader->BelowOne(absl::StrCat(at, ".share"), removal.share())});
    if (i > 0 &&
        (to.removals[i].after_epoch <= to.removals[i - 1].after_epoch ||
         to.removals[i].share <= to.removals[i - 1].share)) {
      reader->Refuse(at,
                     "must have a later after_epoch and a larger share than "
                     "the one before: shares count from the easiest image");
    }
  }
  to.gradual = from.gradual() && !to.removals.empty();
  to.enabled = to.initial_share < 1 || !to.removals.empty();
  return to.enabled ? to : DataScheduleSpec();
}

// The common values with what the stage gives.
StageSpec ReadStage(const v1::Stage& from, const std::string& path,
                    const TrajectoryMatchingSpec& common, int expert_epochs,
                    FieldReader* reader) {
  const auto within = [&](const char* member, bool set, int value, int usual,
                          int low, int high) {
    return set ? reader->Within(absl::StrCat(path, ".", member), value, low,
                                high)
               : usual;
  };
  StageSpec to;
  to.iterations = within("iterations", from.has_iterations(), from.iterations(),
                         common.iterations, 1, kMaxIterations);
  to.student_steps =
      within("student_steps", from.has_student_steps(), from.student_steps(),
             common.student_steps, 1, kMaxSteps);
  to.matched_epochs =
      within("matched_epochs", from.has_matched_epochs(), from.matched_epochs(),
             common.matched_epochs, 1, kMaxEpochs);
  to.start_epoch_min =
      within("start_epoch_min", from.has_start_epoch_min(),
             from.start_epoch_min(), common.start_epoch_min, 0, kMaxEpochs);
  to.start_epoch_max =
      within("start_epoch_max", from.has_start_epoch_max(),
             from.start_epoch_max(), common.start_epoch_max, 1, kMaxEpochs);
  to.growth_iterations = within(
      "growth_iterations", from.has_growth_iterations(),
      from.growth_iterations(), common.growth_iterations, 0, kMaxIterations);
  to.start_epoch_initial =
      within("start_epoch_initial", from.has_start_epoch_initial(),
             from.start_epoch_initial(),
             to.growth_iterations == 0 ? to.start_epoch_max
                                       : common.start_epoch_initial,
             1, kMaxEpochs);
  to.batch = within("batch", from.has_batch(), from.batch(), common.batch, 0,
                    kMaxBatch);
  to.step_size = from.has_step_size()
                     ? reader->Positive(absl::StrCat(path, ".step_size"),
                                        from.step_size(), kMaxStepSize)
                     : common.step_size;
  to.expert_epochs = within("expert_epochs", from.has_expert_epochs(),
                            from.expert_epochs(), expert_epochs, 1, kMaxEpochs);
  return to;
}

// "sequence.seqmatch.stages[1].batch" where the stage gives it, else where all
// stages have it from.
std::string StageField(const v1::SequenceSpec& from, int stage,
                       const std::string& member) {
  const auto& given = StagesOf(from);
  if (stage < given.size()) {
    const v1::Stage& said = given.Get(stage);
    const auto* field = said.GetDescriptor()->FindFieldByName(member);
    if (field != nullptr && said.GetReflection()->HasField(said, field)) {
      return absl::StrCat(StagePath(from), "[", stage, "].", member);
    }
  }
  return member == "expert_epochs"
             ? "experts.epochs"
             : absl::StrCat("matching.trajectory.", member);
}

// What a stage's numbers must be to each other.
void CheckStage(const v1::SequenceSpec& from, int index, const StageSpec& stage,
                FieldReader* reader) {
  if (stage.start_epoch_max <= stage.start_epoch_min) {
    reader->Refuse(
        StageField(from, index, "start_epoch_max"),
        absl::StrCat(stage.start_epoch_max, " is not above start_epoch_min ",
                     stage.start_epoch_min,
                     ": start epochs are drawn from [min, max)"));
  }
  if (stage.start_epoch_initial <= stage.start_epoch_min ||
      stage.start_epoch_initial > stage.start_epoch_max) {
    reader->Refuse(StageField(from, index, "start_epoch_initial"),
                   absl::StrCat(stage.start_epoch_initial, " is not above ",
                                "start_epoch_min ", stage.start_epoch_min,
                                " and at most start_epoch_max ",
                                stage.start_epoch_max, ": give one that is"));
  }
  const int needed = stage.start_epoch_max - 1 + stage.matched_epochs;
  if (stage.expert_epochs < needed) {
    reader->Refuse(
        StageField(from, index, "expert_epochs"),
        absl::StrCat(stage.expert_epochs, " epochs end before start_epoch_max ",
                     stage.start_epoch_max, " - 1 + matched_epochs ",
                     stage.matched_epochs, " = ", needed, ": use at least ",
                     needed, ", or match earlier epochs"));
  }
}

}  // namespace

TrajectoryMatchingSpec ReadTrajectory(const v1::TrajectoryMatching& from,
                                      FieldReader* reader) {
  TrajectoryMatchingSpec to;
  to.estimator = FromProto(from.estimator());
  to.iterations =
      reader->Within(Field("iterations"), from.iterations(), 1, kMaxIterations);
  to.student_steps = reader->Within(Field("student_steps"),
                                    from.student_steps(), 1, kMaxSteps);
  to.matched_epochs = reader->Within(Field("matched_epochs"),
                                     from.matched_epochs(), 1, kMaxEpochs);
  to.start_epoch_min = reader->Within(Field("start_epoch_min"),
                                      from.start_epoch_min(), 0, kMaxEpochs);
  to.start_epoch_max = reader->Within(Field("start_epoch_max"),
                                      from.start_epoch_max(), 1, kMaxEpochs);
  to.growth_iterations = reader->Within(
      Field("growth_iterations"), from.growth_iterations(), 0, kMaxIterations);
  to.find_range = from.find_range();
  to.start_epoch_initial = to.start_epoch_max;
  if (from.has_start_epoch_initial()) {
    to.start_epoch_initial =
        reader->Within(Field("start_epoch_initial"), from.start_epoch_initial(),
                       1, kMaxEpochs);
    if (!to.find_range && (to.start_epoch_initial <= to.start_epoch_min ||
                           to.start_epoch_initial > to.start_epoch_max)) {
      reader->Refuse(
          Field("start_epoch_initial"),
          absl::StrCat(to.start_epoch_initial, " is not above start_epoch_min ",
                       to.start_epoch_min, " and at most start_epoch_max ",
                       to.start_epoch_max, ": give one that is"));
    }
  } else if (to.growth_iterations > 0 && !to.find_range) {
    reader->Refuse(Field("start_epoch_initial"),
                   "is required with growth_iterations: the end of the range "
                   "of start epochs that grows to start_epoch_max");
  }
  to.batch = reader->Within(Field("batch"), from.batch(), 0, kMaxBatch);
  to.image_learning_rate = reader->Positive(
      Field("image_learning_rate"), from.image_learning_rate(), kMaxRate);
  to.image_momentum =
      reader->BelowOne(Field("image_momentum"), from.image_momentum());
  to.step_size =
      reader->Positive(Field("step_size"), from.step_size(), kMaxStepSize);
  to.step_size_learning_rate =
      reader->Number(Field("step_size_learning_rate"),
                     from.step_size_learning_rate(), 0, kMaxRate);
  to.step_size_momentum =
      reader->BelowOne(Field("step_size_momentum"), from.step_size_momentum());
  to.step_size_form = FromProto(from.step_size_form());
  to.labels = FromProto(from.labels());
  to.label_experts = FromProto(from.label_experts());
  to.label_epoch =
      reader->Within(Field("label_epoch"), from.label_epoch(), -1, kMaxEpochs);
  to.label_learning_rate = reader->Number(
      Field("label_learning_rate"), from.label_learning_rate(), 0, kMaxRate);
  if (to.labels == Labels::kSoftLearned && to.label_learning_rate == 0) {
    reader->Refuse(Field("label_learning_rate"),
                   "is 0, with which nothing is learned: give a rate, e.g. 2, "
                   "or say labels: soft_fixed");
  }
  if (to.labels != Labels::kSoftLearned) to.label_learning_rate = 0;
  to.label_momentum =
      reader->BelowOne(Field("label_momentum"), from.label_momentum());
  to.skip_threshold = reader->Number(Field("skip_threshold"),
                                     from.skip_threshold(), 0, kMaxRate);
  to.pixel_ema = reader->BelowOne(Field("pixel_ema"), from.pixel_ema());
  to.mask_from = reader->Number(Field("mask_from"), from.mask_from(), 0, 1);
  to.mask_to = reader->Number(Field("mask_to"), from.mask_to(), 0, 1);
  if (to.mask_from > to.mask_to) {
    reader->Refuse(
        Field("mask_to"),
        absl::StrCat(to.mask_to, " is below mask_from ", to.mask_from,
                     ": the masked share is [from, ", "to)"));
  }
  if (to.mask_to - to.mask_from >= 1) {
    reader->Refuse(Field("mask_to"),
                   "masks every parameter: leave a share to match");
  }
  to.mask_smallest =
      reader->BelowOne(Field("mask_smallest"), from.mask_smallest());
  to.trajectories_per_step = reader->Within(
      Field("trajectories_per_step"), from.trajectories_per_step(), 1, 1024);
  to.augmentation =
      reader->Augmentations(Field("augmentation"), from.augmentation());
  to.snapshot_interval = reader->Within(
      Field("snapshot_interval"), from.snapshot_interval(), 0, kMaxIterations);
  to.probe_interval = reader->Within(Field("probe_interval"),
                                     from.probe_interval(), 0, kMaxIterations);
  return to;
}

ExpertSpec ReadExperts(const v1::ExpertSpec& from, FieldReader* reader) {
  ExpertSpec to;
  to.count = reader->Within(ExpertField("count"), from.count(), 1, 10'000);
  to.seed = from.seed();
  to.group = reader->Within(ExpertField("group"), from.group(), 1, 1024);
  ExpertTraining& training = to.training;
  training.epochs =
      reader->Within(ExpertField("epochs"), from.epochs(), 1, kMaxEpochs);
  training.batch = reader->Within(ExpertField("batch"), from.batch(), 1, 65536);
  training.learning_rate =
      reader->Positive(ExpertField("learning_rate"), from.learning_rate(), 10);
  training.momentum =
      reader->BelowOne(ExpertField("momentum"), from.momentum());
  training.weight_decay =
      reader->Number(ExpertField("weight_decay"), from.weight_decay(), 0, 1);
  training.optimizer = FromProto(from.optimizer());
  training.gsam_rho =
      reader->Number(ExpertField("gsam_rho"), from.gsam_rho(), 0, 1000);
  training.gsam_alpha =
      reader->Number(ExpertField("gsam_alpha"), from.gsam_alpha(), 0, 1000);
  training.augmentation =
      reader->Augmentations(ExpertField("augmentation"), from.augmentation());
  if (!from.has_schedule()) return to;

  const v1::DataSchedule& schedule = from.schedule();
  training.schedule = ReadSchedule(schedule, reader);
  if (schedule.has_score()) to.score = FromProto(schedule.score());
  if (schedule.has_score_runs()) {
    to.score_runs = reader->Within("experts.schedule.score_runs",
                                   schedule.score_runs(), 1, 100);
  }
  if (schedule.has_score_epoch()) {
    to.score_epoch = reader->Within("experts.schedule.score_epoch",
                                    schedule.score_epoch(), 1, 1000);
  }
  if (to.score == ScoreRule::kFile) {
    to.score_file =
        reader->Path("experts.schedule.score_file", schedule.has_score_file(),
                     schedule.score_file());
  } else if (schedule.has_score_file()) {
    reader->Refuse("experts.schedule.score_file",
                   "is read with score: file alone: say so, or leave it out");
  }
  if (!training.schedule.enabled) {
    // Nothing is ranked.
    const ExpertSpec none;
    to.score = none.score;
    to.score_runs = none.score_runs;
    to.score_epoch = none.score_epoch;
    to.score_file.clear();
  }
  return to;
}

void ReadStages(const v1::SequenceSpec& from, TrajectoryMatchingSpec* matching,
                ExpertSpec* experts, SequenceSpec* sequence,
                FieldReader* reader) {
  const auto& given = StagesOf(from);
  const int segments = static_cast<int>(sequence->segments.size());
  if (given.size() != 0 && given.size() != segments) {
    reader->Refuse(StagePath(from),
                   absl::StrCat("has ", given.size(), " stages for ", segments,
                                " segments: give one a segment, or none"));
    return;
  }
  sequence->stages.clear();
  for (int k = 0; k < segments; ++k) {
    const v1::Stage& stage =
        given.empty() ? v1::Stage::default_instance() : given.Get(k);
    const std::string path = absl::StrCat(StagePath(from), "[", k, "]");
    StageSpec read =
        ReadStage(stage, path, *matching, experts->training.epochs, reader);
    if (k > 0 && !stage.has_expert_epochs() && !matching->find_range) {
      read.expert_epochs = read.start_epoch_max - 1 + read.matched_epochs;
    }
    if (matching->find_range) {
      // The rest of the range is found.
      if (read.expert_epochs < read.matched_epochs) {
        reader->Refuse(
            StageField(from, k, "expert_epochs"),
            absl::StrCat(read.expert_epochs, " is below matched_epochs ",
                         read.matched_epochs, ": use more"));
      }
    } else {
      CheckStage(from, k, read, reader);
      if (read.growth_iterations == 0) {
        read.start_epoch_initial = read.start_epoch_max;
      }
    }
    if (matching->label_epoch > read.expert_epochs) {
      reader->Refuse(
          Field("label_epoch"),
          absl::StrCat(matching->label_epoch, " is above the ",
                       read.expert_epochs, " epochs of segment ", k + 1,
                       "'s experts: use at most that, or ", "-1 for the last"));
    }
    sequence->stages.push_back(read);
  }
  if (segments != 1) return;
  const StageSpec& only = sequence->stages[0];
  matching->iterations = only.iterations;
  matching->student_steps = only.student_steps;
  matching->matched_epochs = only.matched_epochs;
  matching->start_epoch_min = only.start_epoch_min;
  matching->start_epoch_initial = only.start_epoch_initial;
  matching->start_epoch_max = only.start_epoch_max;
  matching->growth_iterations = only.growth_iterations;
  matching->batch = only.batch;
  matching->step_size = only.step_size;
  experts->training.epochs = only.expert_epochs;
}

}  // namespace dasm
