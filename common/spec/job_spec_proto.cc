#include "common/spec/job_spec_proto.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/evaluation_reader.h"
#include "common/spec/known_dataset.h"
#include "common/spec/network_reader.h"
#include "common/spec/preset.h"
#include "common/spec/sequence_reader.h"
#include "common/spec/spec_enums.h"
#include "common/spec/spec_merge.h"
#include "common/spec/spec_reader.h"
#include "common/spec/trajectory_check.h"
#include "common/spec/trajectory_reader.h"

namespace dasm {
namespace {

// Refuses what has no meaning beside an existing set.
absl::Status CheckEvaluateOnly(const v1::JobSpec& given) {
  const auto refuse = [](const char* field) {
    return InvalidField(field,
                        "has no meaning beside synthetic_set, whose images are "
                        "evaluated as they are: remove one of the two");
  };
  if (given.has_sequence()) return refuse("sequence");
  if (given.has_matching()) return refuse("matching");
  if (given.has_experts()) return refuse("experts");
  if (given.has_images_per_class()) return refuse("images_per_class");
  if (given.synthesis().has_init()) return refuse("synthesis.init");
  return absl::OkStatus();
}

// A preset's evaluation settings belong to its recipe.
void DropOtherRecipe(const v1::JobSpec& given, v1::JobSpec* preset) {
  if (!given.evaluation().has_recipe() || !preset->has_evaluation() ||
      given.evaluation().recipe() == preset->evaluation().recipe()) {
    return;
  }
  v1::EvaluationSpec& evaluation = *preset->mutable_evaluation();
  evaluation.clear_recipe();
  evaluation.clear_batch();
  evaluation.clear_learning_rate();
  evaluation.clear_momentum();
  evaluation.clear_weight_decay();
  evaluation.clear_augmentation();
  evaluation.clear_cutmix();
}

// A preset's settings of one way of matching are not those of another.
void DropOtherMatching(const v1::JobSpec& given, v1::JobSpec* preset) {
  const bool trajectory = given.matching().has_trajectory();
  if (!trajectory && !given.matching().has_gradient()) return;
  if (trajectory == preset->matching().has_trajectory()) return;
  preset->clear_matching();
  preset->clear_experts();
  preset->clear_synthesis();
  preset->clear_evaluation();
  if (preset->has_dataset()) {
    preset->mutable_dataset()->clear_preprocessing();
    preset->mutable_dataset()->clear_validation();
  }
  if (preset->sequence().has_seqmatch()) preset->clear_sequence();
  if (preset->sequence().has_dasm()) {
    preset->mutable_sequence()->mutable_dasm()->clear_stages();
    preset->mutable_sequence()->mutable_dasm()->clear_union_();
  }
}

// Nor are those of one network.
void DropOtherNetwork(const v1::JobSpec& given, v1::JobSpec* preset) {
  if (!given.network().has_name() || !preset->has_network() ||
      given.network().name() == preset->network().name()) {
    return;
  }
  preset->clear_network();
}

// 0 where only the data set's content tells (the planner then decides).
int DerivedEpochs(const v1::EvaluationSpec& evaluation,
                  const DatasetSpec& dataset, int64_t decoded_per_class) {
  if (evaluation.recipe() == v1::EvaluationSpec::RECIPE_TRAJECTORY) return 1000;
  if (evaluation.recipe() == v1::EvaluationSpec::RECIPE_DC) {
    const bool augmented = evaluation.augmentation_size() > 0 &&
                           evaluation.augmentation(0) != v1::AUGMENTATION_NONE;
    return augmented ? 1000 : 300;
  }
  if (dataset.classes == 0 || decoded_per_class == 0) return 0;
  return IdcEvaluationEpochs(decoded_per_class * dataset.classes,
                             dataset.classes);
}

// The first is the job's result. Trajectory matching leaves step sizes for one
// segment after the other.
void DeriveOrders(const JobSpec& spec, v1::EvaluationSpec* evaluation) {
  const bool several = spec.sequence.segments.size() > 1;
  if (!evaluation->has_prefixes()) evaluation->set_prefixes(several);
  if (evaluation->orders_size() > 0) return;
  if (spec.trajectory.has_value() && several) {
    evaluation->add_orders(v1::EvaluationSpec::ORDER_CUMULATIVE);
    if (spec.sequence.seqmatch) return;
    evaluation->add_orders(v1::EvaluationSpec::ORDER_STAGED);
  }
  evaluation->add_orders(v1::EvaluationSpec::ORDER_UNION);
}

// Before the defaults: what they depend on.
DefaultsFor DefaultsOf(const v1::JobSpec& chosen, bool evaluate_only) {
  DefaultsFor what;
  what.dataset = chosen.dataset().name();
  what.images_per_class = chosen.images_per_class();
  what.factor = chosen.synthesis().factor();
  what.sequence = !evaluate_only;
  what.dasm = chosen.sequence().has_dasm();
  what.seqmatch = chosen.sequence().has_seqmatch();
  what.trajectory = chosen.matching().has_trajectory();
  const auto& matching = chosen.matching().trajectory();
  what.soft_labels =
      matching.has_labels() && FromProto(matching.labels()) != Labels::kHard;
  if (chosen.evaluation().has_recipe()) {
    what.recipe = FromProto(chosen.evaluation().recipe());
  }
  return what;
}

// Matching, sequence and what belongs to them.
void ReadDistillation(const v1::JobSpec& merged, JobSpec* spec,
                      FieldReader* reader) {
  if (!merged.has_images_per_class()) {
    reader->Refuse("images_per_class",
                   "is required: synthetic images for each class, e.g. 10");
  } else {
    spec->images_per_class = reader->Within(
        "images_per_class", merged.images_per_class(), 1, 100'000);
  }
  const bool trajectories = merged.matching().has_trajectory();
  if (trajectories) {
    spec->trajectory = ReadTrajectory(merged.matching().trajectory(), reader);
    spec->experts = ReadExperts(merged.experts(), reader);
  } else {
    spec->matching = ReadMatching(merged.matching().gradient(),
                                  merged.sequence().has_dasm(), reader);
    if (merged.has_experts()) {
      reader->Refuse("experts",
                     "are of matching.trajectory: leave them out, or match "
                     "trajectories");
    }
  }
  spec->synthesis.init = FromProto(merged.synthesis().init());
  if (!reader->status().ok()) return;
  spec->sequence = ReadSequence(merged.sequence(), spec->images_per_class,
                                trajectories, reader);
  if (!trajectories || !reader->status().ok()) return;
  ReadStages(merged.sequence(), &*spec->trajectory, &spec->experts,
             &spec->sequence, reader);
}

}  // namespace

absl::StatusOr<ExpandedSpec> ExpandSpec(const v1::JobSpec& given) {
  DASM_RETURN_IF_ERROR(CheckKnown(given, ""));
  const bool evaluate_only = given.has_synthetic_set();
  if (evaluate_only) DASM_RETURN_IF_ERROR(CheckEvaluateOnly(given));
  if (given.matching().has_gradient() && given.matching().has_trajectory()) {
    return InvalidField("matching", "give only one of gradient and trajectory");
  }

  v1::JobSpec preset;
  if (given.has_preset()) {
    DASM_ASSIGN_OR_RETURN(preset, FindPreset(given.preset()));
    DropOtherMatching(given, &preset);
    DropOtherRecipe(given, &preset);
    DropOtherNetwork(given, &preset);
    // Before the defaults meet the preset: what the spec displaces must not
    // displace them.
    Displace(given, &preset);
    if (evaluate_only) {
      preset.clear_images_per_class();
      preset.clear_matching();
      preset.clear_experts();
      preset.clear_sequence();
      preset.mutable_synthesis()->clear_init();
      preset.mutable_evaluation()->clear_baselines();
    }
  }
  // What the defaults depend on is read off preset and spec alone.
  Origins unused;
  v1::JobSpec chosen = preset;
  Overlay(given, "spec", "", &chosen, &unused);
  const v1::JobSpec defaults = DefaultSpec(DefaultsOf(chosen, evaluate_only));

  ExpandedSpec expanded;
  Origins& origins = expanded.origins;
  v1::JobSpec merged;
  Overlay(defaults, "default", "", &merged, &origins);
  Overlay(preset, "preset", "", &merged, &origins);
  Overlay(given, "spec", "", &merged, &origins);
  if (!chosen.sequence().has_dasm() && !chosen.sequence().has_seqmatch() &&
      !chosen.sequence().has_one_segment()) {
    // The method is never a guess.
    merged.clear_sequence();
  }
  if (given.matching().gradient().has_inits() &&
      !given.matching().gradient().has_later_inits()) {
    // A job that shortens its iterations shortens all of them.
    v1::GradientMatching& matching =
        *merged.mutable_matching()->mutable_gradient();
    if (matching.inits() < matching.later_inits()) {
      matching.set_later_inits(matching.inits());
      origins["matching.gradient.later_inits"] = "derived";
    }
  }

  if (merged.execution().reduction() == v1::ExecutionSpec::REDUCTION_FAST &&
      !chosen.resources().has_min_ranks()) {
    // Fewer ranks would be another result.
    merged.mutable_resources()->set_min_ranks(merged.resources().ranks());
    origins["resources.min_ranks"] = "derived";
  }

  FieldReader reader;
  JobSpec& spec = expanded.spec;
  spec.name = reader.Text("name", merged.name(), 200);
  spec.dataset = ReadDataset(merged.dataset(),
                             FromProto(merged.evaluation().recipe()), &reader);
  spec.network = ReadNetwork(chosen.network(), merged.network(), &reader);
  spec.synthesis.factor =
      reader.Within("synthesis.factor", merged.synthesis().factor(), 1, 8);
  if (evaluate_only) {
    spec.synthetic_set = ReadSet(merged.synthetic_set(), &reader);
    if (!spec.synthetic_set->digest.empty() &&
        !chosen.synthesis().has_factor()) {
      reader.Refuse("synthesis.factor",
                    "is required with synthetic_set.digest: the factor that "
                    "the set was distilled with");
    }
  } else {
    CheckDistills(spec.network, merged.matching().has_trajectory(), &reader);
    ReadDistillation(merged, &spec, &reader);
    DASM_RETURN_IF_ERROR(reader.status());
  }
  if (merged.evaluation().networks_size() == 0) {
    merged.mutable_evaluation()->add_networks(spec.network.ToString());
  }
  if (!merged.evaluation().has_epochs()) {
    const int64_t decoded = int64_t{spec.images_per_class} *
                            spec.synthesis.factor * spec.synthesis.factor;
    merged.mutable_evaluation()->set_epochs(
        DerivedEpochs(merged.evaluation(), spec.dataset, decoded));
  }
  DeriveOrders(spec, merged.mutable_evaluation());
  spec.evaluation = ReadEvaluation(
      merged.evaluation(),
      {.network = spec.network,
       .evaluate_only = evaluate_only,
       .several_segments = evaluate_only || spec.sequence.segments.size() > 1},
      &reader);
  spec.execution =
      ReadExecution(merged.execution(), spec.network.norm, &reader);
  spec.resources = ReadResources(merged.resources(), spec.execution,
                                 !evaluate_only, &reader);
  CheckTrainerRank(spec, &reader);
  spec.seed = merged.seed();
  spec.salt = reader.Text("salt", merged.salt(), 200);
  if (merged.labels_size() > 32) {
    reader.Refuse("labels", absl::StrCat("has ", merged.labels_size(),
                                         " labels, above 32"));
  }
  for (const auto& [key, value] : merged.labels()) {
    if (key.empty()) reader.Refuse("labels", "a label needs a name");
    spec.labels[reader.Text("labels." + key, key, 63)] =
        reader.Text("labels." + key, value, 255);
  }
  CheckMethod(spec, &reader);
  DASM_RETURN_IF_ERROR(reader.status());
  DASM_RETURN_IF_ERROR(CheckStudentBatches(spec, spec.dataset.classes));

  expanded.proto = ToProto(spec);
  if (given.has_preset()) expanded.proto.set_preset(given.preset());
  // Origins of what the canonical form leaves out (DASM settings of a single
  // segment) go; what it adds was derived.
  Origins all;
  MarkDerived(expanded.proto, "", &all);
  for (auto& [path, origin] : all) {
    const auto known = origins.find(path);
    if (known != origins.end()) origin = known->second;
  }
  for (const char* path : {"name", "salt"}) {
    if (!origins.contains(path)) all[path] = "default";
  }
  origins = std::move(all);
  return expanded;
}

absl::Status ValidateAgainstDataset(const JobSpec& spec,
                                    const DatasetFacts& facts) {
  const int side = std::min(facts.height, facts.width);
  if (facts.classes == 1) {
    return InvalidField("dataset", "has one class: at least two are needed");
  }
  if (facts.channels > 0 && !spec.dataset.mean.empty() &&
      spec.dataset.mean.size() != static_cast<size_t>(facts.channels)) {
    return InvalidField(
        "dataset.mean",
        absl::StrCat("has ", spec.dataset.mean.size(), " values, but images ",
                     "have ", facts.channels, " channels"));
  }
  if (side > 0) {
    DASM_RETURN_IF_ERROR(
        CheckImageSide(spec.network, "", side, facts.channels));
    for (size_t i = 0; i < spec.evaluation.networks.size(); ++i) {
      DASM_RETURN_IF_ERROR(CheckImageSide(
          spec.evaluation.networks[i],
          absl::StrCat("evaluation.networks[", i, "]"), side, facts.channels));
    }
    DASM_RETURN_IF_ERROR(CheckZcaSide(spec, side));
    constexpr int kSmallestTile = 4;
    const int factor = spec.synthesis.factor;
    if (factor > 1 && side / factor < kSmallestTile) {
      return InvalidField(
          "synthesis.factor",
          absl::StrCat(factor, " x ", factor, " tiles do not fit an image of ",
                       side, " pixels: a tile needs at least ", kSmallestTile,
                       ", so use at most ", side / kSmallestTile));
    }
  }
  if (spec.synthetic_set.has_value()) return absl::OkStatus();
  // What the validation split leaves to train on.
  const auto left = [&](int64_t images) {
    return static_cast<int64_t>(static_cast<double>(images) *
                                (1 - spec.dataset.validation));
  };
  const int64_t smallest_class = left(facts.smallest_class);
  if (facts.smallest_class > 0) {
    if (spec.images_per_class > smallest_class) {
      return InvalidField(
          "images_per_class",
          absl::StrCat(spec.images_per_class, " is above the ", smallest_class,
                       " training images of the smallest class"));
    }
    if (!spec.trajectory.has_value() &&
        spec.matching.real_batch > smallest_class) {
      return InvalidField(
          "matching.gradient.real_batch",
          absl::StrCat(spec.matching.real_batch, " is above the ",
                       smallest_class,
                       " training images of the smallest class"));
    }
  }
  // Where class sizes are not known yet, the mean bounds the smallest.
  if (facts.smallest_class == 0 && facts.classes > 0 &&
      facts.train_images > 0 &&
      spec.images_per_class > facts.train_images / facts.classes) {
    return InvalidField(
        "images_per_class",
        absl::StrCat(spec.images_per_class,
                     " is above the class size: ", facts.train_images,
                     " training images in ", facts.classes, " classes"));
  }
  if (spec.trajectory.has_value()) {
    if (facts.train_images > 0 &&
        spec.experts.training.batch > left(facts.train_images)) {
      return InvalidField(
          "experts.batch",
          absl::StrCat(spec.experts.training.batch, " is above the ",
                       left(facts.train_images), " training images"));
    }
    const DataScheduleSpec& schedule = spec.experts.training.schedule;
    if (smallest_class > 0 && schedule.enabled &&
        schedule.initial_share * static_cast<double>(smallest_class) < 1) {
      return InvalidField(
          "experts.schedule.initial_share",
          absl::StrCat(schedule.initial_share, " of the ", smallest_class,
                       " training images of the smallest class "
                       "is none: use more"));
    }
    return CheckStudentBatches(spec, facts.classes);
  }
  if (facts.train_images > 0 && spec.matching.net_batch > facts.train_images) {
    return InvalidField("matching.gradient.net_batch",
                        absl::StrCat(spec.matching.net_batch, " is above the ",
                                     facts.train_images, " training images"));
  }
  return absl::OkStatus();
}

}  // namespace dasm
