#include "common/spec/trajectory_check.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {
namespace {

constexpr int kMaxZcaSide = 64;
constexpr int kMaxSnapshots = 1000;

void CheckProtocol(const JobSpec& spec, FieldReader* reader) {
  const Protocol protocol = spec.evaluation.protocol;
  if (protocol == Protocol::kLast) return;
  if (!spec.trajectory.has_value()) {
    reader->Refuse("evaluation.protocol",
                   "chooses among snapshots, which only matching.trajectory "
                   "keeps: use last");
    return;
  }
  if (spec.trajectory->snapshot_interval == 0) {
    reader->Refuse("matching.trajectory.snapshot_interval",
                   "is 0, so that evaluation.protocol has nothing to choose "
                   "from: give an interval, e.g. 500, or use protocol last");
  }
  if (protocol == Protocol::kValidation && spec.dataset.validation == 0) {
    reader->Refuse("dataset.validation",
                   "is required with evaluation.protocol validation: the "
                   "share of the training images to choose on, e.g. 0.1");
  }
}

void CheckTrajectory(const JobSpec& spec, FieldReader* reader) {
  const TrajectoryMatchingSpec& matching = *spec.trajectory;
  if (spec.synthesis.factor > 1) {
    reader->Refuse("synthesis.factor",
                   absl::StrCat(spec.synthesis.factor,
                                " tiles an image belong to gradient matching; "
                                "trajectories are matched with whole images: "
                                "use 1"));
  }
  const Recipe recipe = spec.evaluation.training.recipe;
  if (matching.labels != Labels::kHard && recipe != Recipe::kTrajectory) {
    reader->Refuse("evaluation.recipe",
                   "trains on hard labels, but matching.trajectory.labels are "
                   "soft: use recipe trajectory, or labels hard");
  }
  const bool logits = matching.labels == Labels::kSoftFixed ||
                      matching.labels == Labels::kSoftLearned;
  if (logits && spec.synthesis.init == Init::kNoise &&
      matching.label_experts == LabelExperts::kAllCorrect) {
    reader->Refuse("matching.trajectory.label_experts",
                   "all_correct has no expert to ask about noise, which none "
                   "classifies correctly: use first, or another "
                   "synthesis.init");
  }
  if (spec.resources.exchange == Exchange::kDeferred) {
    reader->Refuse("resources.exchange",
                   "deferred keeps a class on one rank, but a student's step "
                   "mixes classes: use every_step");
  }
  const ExpertTraining& experts = spec.experts.training;
  for (const StageSpec& stage : spec.sequence.stages) {
    if (matching.snapshot_interval > 0 &&
        stage.iterations / matching.snapshot_interval > kMaxSnapshots) {
      reader->Refuse(
          "matching.trajectory.snapshot_interval",
          absl::StrCat(matching.snapshot_interval, " keeps ",
                       stage.iterations / matching.snapshot_interval,
                       " sets a segment, above ", kMaxSnapshots, ": use more"));
    }
  }
  if (experts.schedule.enabled && !experts.schedule.removals.empty() &&
      experts.schedule.removals.front().after_epoch >= experts.epochs &&
      experts.schedule.initial_share == 1) {
    reader->Refuse("experts.schedule.removals[0].after_epoch",
                   absl::StrCat("is not before the last of ", experts.epochs,
                                " epochs, so that nothing is removed: use "
                                "less, or leave the schedule out"));
  }
}

}  // namespace

void CheckMethod(const JobSpec& spec, FieldReader* reader) {
  const bool distils = !spec.synthetic_set.has_value();
  const bool trajectories = spec.trajectory.has_value();
  if (spec.dataset.preprocessing == Preprocessing::kZca) {
    if (distils && !trajectories) {
      reader->Refuse("dataset.preprocessing",
                     "zca is for matching.trajectory: use normalize");
    }
    const absl::Status fits = CheckZcaSide(spec, spec.dataset.image_size);
    if (!fits.ok()) reader->Refuse(fits);
  }
  if (spec.synthesis.init == Init::kCorrect && !trajectories) {
    reader->Refuse("synthesis.init",
                   "correct asks experts, which only matching.trajectory has: "
                   "use real");
  }
  const TrainingRecipe& training = spec.evaluation.training;
  if (training.recipe == Recipe::kTrajectory) {
    if (distils && !trajectories && training.learning_rate == 0) {
      reader->Refuse("evaluation.learning_rate",
                     "is 0, the learned step size, which gradient matching "
                     "does not learn: give a rate, e.g. 0.01");
    }
    const bool arrays = !distils && spec.synthetic_set->digest.empty();
    if (arrays && training.learning_rate == 0) {
      reader->Refuse("evaluation.learning_rate",
                     "is 0, the step size that a set of trajectory matching "
                     "brings along, which arrays do not: give a rate, e.g. "
                     "0.01, or the set by its digest");
    }
    if (training.cutmix > 0) {
      reader->Refuse("evaluation.cutmix",
                     "has no place in recipe trajectory: use 0");
    }
  }
  CheckProtocol(spec, reader);
  if (trajectories) CheckTrajectory(spec, reader);
}

absl::Status CheckZcaSide(const JobSpec& spec, int side) {
  if (spec.dataset.preprocessing != Preprocessing::kZca ||
      side <= kMaxZcaSide) {
    return absl::OkStatus();
  }
  return InvalidField(
      "dataset.preprocessing",
      absl::StrCat("zca of ", side, " pixels a side is a matrix too large to ",
                   "fit: use normalize, or images of at most ", kMaxZcaSide,
                   " pixels"));
}

absl::Status CheckStudentBatches(const JobSpec& spec, int classes) {
  if (!spec.trajectory.has_value() || classes <= 0) return absl::OkStatus();
  const SequenceSpec& sequence = spec.sequence;
  int64_t earlier = 0;
  for (size_t k = 0; k < sequence.stages.size(); ++k) {
    const int64_t own = int64_t{sequence.segments[k]} * classes;
    const int64_t seen = own + (sequence.visible_earlier ? earlier : 0);
    earlier += own;
    const int batch = sequence.stages[k].batch;
    if (batch <= seen) continue;
    const std::string field =
        sequence.stages.size() == 1
            ? "matching.trajectory.batch"
            : absl::StrCat("sequence.", sequence.seqmatch ? "seqmatch" : "dasm",
                           ".stages[", k, "].batch");
    return InvalidField(
        field, absl::StrCat(batch, " is above the ", seen,
                            " images that a step can draw from: write 0 for ",
                            "the whole set"));
  }
  return absl::OkStatus();
}

}  // namespace dasm
