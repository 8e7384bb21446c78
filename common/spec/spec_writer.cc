#include "common/spec/spec_writer.h"

#include "absl/strings/str_cat.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/spec_enums.h"
#include "common/spec/trajectory_writer.h"

namespace dasm {
namespace {

v1::Augmentation ToProto(Augmentation value) {
  switch (value) {
    case Augmentation::kColor:
      return v1::AUGMENTATION_COLOR;
    case Augmentation::kCrop:
      return v1::AUGMENTATION_CROP;
    case Augmentation::kCutout:
      return v1::AUGMENTATION_CUTOUT;
    case Augmentation::kFlip:
      return v1::AUGMENTATION_FLIP;
    case Augmentation::kScale:
      return v1::AUGMENTATION_SCALE;
    case Augmentation::kRotate:
      return v1::AUGMENTATION_ROTATE;
  }
  return v1::AUGMENTATION_UNSPECIFIED;
}

void WriteDataset(const DatasetSpec& from, v1::DatasetSpec* to) {
  const auto file = [&](const char* role) -> const std::string& {
    return from.files.at(role);
  };
  if (from.name != "custom") {
    to->set_name(from.name);
  } else {
    switch (from.format) {
      case DatasetSpec::Format::kIdx: {
        v1::IdxFiles& idx = *to->mutable_idx();
        idx.set_train_images(file("train_images"));
        idx.set_train_labels(file("train_labels"));
        idx.set_test_images(file("test_images"));
        idx.set_test_labels(file("test_labels"));
        break;
      }
      case DatasetSpec::Format::kCifarBinary: {
        v1::CifarBinaryFiles& cifar = *to->mutable_cifar_binary();
        // By number, not by the map's order of texts.
        for (size_t i = 0; i < from.files.size(); ++i) {
          const auto train = from.files.find(absl::StrCat("train.", i));
          if (train != from.files.end()) cifar.add_train(train->second);
          const auto test = from.files.find(absl::StrCat("test.", i));
          if (test != from.files.end()) cifar.add_test(test->second);
        }
        cifar.set_label_bytes(from.label_bytes);
        cifar.set_classes(from.classes);
        break;
      }
      case DatasetSpec::Format::kImageFolder: {
        v1::ImageFolder& folder = *to->mutable_image_folder();
        folder.set_train(file("train"));
        folder.set_test(file("test"));
        folder.set_size(from.image_size);
        folder.set_channels(from.channels);
        break;
      }
      case DatasetSpec::Format::kSvhnMat:
        break;  // only by name
    }
  }
  for (const double m : from.mean) to->add_mean(static_cast<float>(m));
  for (const double s : from.std) to->add_std(static_cast<float>(s));
  to->set_preprocessing(ToProto(from.preprocessing));
  to->set_validation(static_cast<float>(from.validation));
}

void WriteMatching(const GradientMatchingSpec& from, v1::GradientMatching* to) {
  switch (from.distance) {
    case Distance::kL1:
      to->set_distance(v1::GradientMatching::DISTANCE_L1);
      break;
    case Distance::kMse:
      to->set_distance(v1::GradientMatching::DISTANCE_MSE);
      break;
    case Distance::kCosine:
      to->set_distance(v1::GradientMatching::DISTANCE_COSINE);
      break;
  }
  switch (from.layers) {
    case Layers::kConvolutions:
      to->set_layers(v1::GradientMatching::LAYERS_CONVOLUTIONS);
      break;
    case Layers::kWeights:
      to->set_layers(v1::GradientMatching::LAYERS_WEIGHTS);
      break;
    case Layers::kAll:
      to->set_layers(v1::GradientMatching::LAYERS_ALL);
      break;
  }
  to->set_inits(from.inits);
  to->set_later_inits(from.later_inits);
  to->set_steps_per_init(from.steps_per_init);
  to->set_real_batch(from.real_batch);
  to->set_synthetic_batch(from.synthetic_batch);
  to->set_image_learning_rate(static_cast<float>(from.image_learning_rate));
  to->set_scale_learning_rate(from.scale_learning_rate);
  to->set_base_size(from.base_size);
  to->set_image_momentum(static_cast<float>(from.image_momentum));
  WriteAugmentations(from.augmentation, to->mutable_augmentation());
  to->set_net_steps(from.net_steps);
  to->set_net_batch(from.net_batch);
  to->set_net_learning_rate(static_cast<float>(from.net_learning_rate));
  to->set_net_momentum(static_cast<float>(from.net_momentum));
  to->set_net_weight_decay(static_cast<float>(from.net_weight_decay));
  WriteAugmentations(from.net_augmentation, to->mutable_net_augmentation());
  to->set_net_cutmix(static_cast<float>(from.net_cutmix));
  to->set_inits_per_step(from.inits_per_step);
}

void WriteDasm(const SequenceSpec& from, v1::Dasm* to) {
  to->mutable_segments()->Add(from.segments.begin(), from.segments.end());
  switch (from.pool) {
    case PoolRule::kAll:
      to->set_pool(v1::Dasm::POOL_ALL);
      break;
    case PoolRule::kMisclassified:
      to->set_pool(v1::Dasm::POOL_MISCLASSIFIED);
      break;
    case PoolRule::kLossQuantile:
      to->set_pool(v1::Dasm::POOL_LOSS_QUANTILE);
      break;
    case PoolRule::kEl2n:
      to->set_pool(v1::Dasm::POOL_EL2N);
      break;
    case PoolRule::kWeighted:
      to->set_pool(v1::Dasm::POOL_WEIGHTED);
      break;
  }
  to->set_mix(static_cast<float>(from.mix));
  to->set_trim(static_cast<float>(from.trim));
  to->set_discriminators(from.discriminators);
  to->set_discriminator_epochs(from.discriminator_epochs);
  to->set_discriminator_steps(from.discriminator_steps);
  to->set_quantile_floor(static_cast<float>(from.quantile_floor));
  to->set_el2n_threshold(static_cast<float>(from.el2n_threshold));
  to->set_weight_floor(static_cast<float>(from.weight_floor));
  to->set_weight_power(static_cast<float>(from.weight_power));
  to->set_reference_steps(from.reference_steps);
  if (from.stages.empty()) return;
  WriteStages(from.stages, to->mutable_stages());
  to->set_union_(from.visible_earlier);
}

void WriteSequence(const SequenceSpec& from, v1::SequenceSpec* to) {
  if (from.segments.size() <= 1) {
    to->mutable_one_segment();
  } else if (from.seqmatch) {
    v1::SeqMatch& seqmatch = *to->mutable_seqmatch();
    seqmatch.mutable_segments()->Add(from.segments.begin(),
                                     from.segments.end());
    WriteStages(from.stages, seqmatch.mutable_stages());
  } else {
    WriteDasm(from, to->mutable_dasm());
  }
}

void WriteEvaluation(const EvaluationSpec& from, v1::EvaluationSpec* to) {
  to->set_recipe(ToProto(from.training.recipe));
  for (const NetworkSpec& network : from.networks) {
    to->add_networks(network.ToString());
  }
  to->set_repeats(from.repeats);
  to->set_epochs(from.epochs);
  to->set_steps(from.training.steps);
  to->set_batch(from.training.batch);
  to->set_learning_rate(static_cast<float>(from.training.learning_rate));
  to->set_momentum(static_cast<float>(from.training.momentum));
  to->set_weight_decay(static_cast<float>(from.training.weight_decay));
  WriteAugmentations(from.training.augmentation, to->mutable_augmentation());
  to->set_cutmix(static_cast<float>(from.training.cutmix));
  for (const Baseline baseline : from.baselines) {
    switch (baseline) {
      case Baseline::kRandom:
        to->add_baselines(v1::EvaluationSpec::BASELINE_RANDOM);
        break;
      case Baseline::kTiles:
        to->add_baselines(v1::EvaluationSpec::BASELINE_TILES);
        break;
      case Baseline::kStart:
        to->add_baselines(v1::EvaluationSpec::BASELINE_START);
        break;
    }
  }
  if (from.baselines.empty()) {
    to->add_baselines(v1::EvaluationSpec::BASELINE_NONE);
  }
  to->set_prefixes(from.prefixes);
  to->set_seed(from.seed);
  for (const Order order : from.orders) to->add_orders(ToProto(order));
  to->set_protocol(ToProto(from.protocol));
}

}  // namespace

void WriteResources(const ResourceSpec& from, v1::ResourceSpec* to) {
  to->set_ranks(from.ranks);
  to->set_priority(from.priority);
  to->set_checkpoint_interval(static_cast<float>(from.checkpoint_interval));
  to->set_checkpoint_steps(from.checkpoint_steps);
  to->set_min_ranks(from.min_ranks);
  to->set_regroup_wait(static_cast<float>(from.regroup_wait));
  to->set_exchange(from.exchange == Exchange::kDeferred
                       ? v1::ResourceSpec::EXCHANGE_DEFERRED
                       : v1::ResourceSpec::EXCHANGE_EVERY_STEP);
  to->set_on_oom(from.on_oom == OnOom::kReplan ? v1::ResourceSpec::ON_OOM_REPLAN
                                               : v1::ResourceSpec::ON_OOM_FAIL);
  to->set_trainer_rank(from.trainer_rank);
}

void WriteAugmentations(const std::vector<Augmentation>& from,
                        google::protobuf::RepeatedField<int>* to) {
  to->Clear();
  for (const Augmentation value : from) to->Add(ToProto(value));
  if (from.empty()) to->Add(v1::AUGMENTATION_NONE);
}

v1::JobSpec ToProto(const JobSpec& spec) {
  v1::JobSpec proto;
  proto.set_name(spec.name);
  WriteDataset(spec.dataset, proto.mutable_dataset());
  v1::NetworkSpec& network = *proto.mutable_network();
  network.set_name(spec.network.name);
  if (spec.network.name == "convnet") {
    network.set_depth(spec.network.depth);
    network.set_width(spec.network.width);
  }
  network.set_norm(ToProto(spec.network.norm));
  proto.mutable_synthesis()->set_factor(spec.synthesis.factor);
  if (spec.synthetic_set.has_value()) {
    const SyntheticSetSpec& from = *spec.synthetic_set;
    v1::SyntheticSetSpec& to = *proto.mutable_synthetic_set();
    if (!from.digest.empty()) {
      to.set_digest(from.digest);
    } else if (from.files.contains("npz")) {
      to.set_npz(from.files.at("npz"));
    } else {
      to.mutable_npy()->set_images(from.files.at("images"));
      to.mutable_npy()->set_labels(from.files.at("labels"));
    }
    to.set_space(from.space == PixelSpace::kNormalized
                     ? v1::SyntheticSetSpec::SPACE_NORMALIZED
                     : v1::SyntheticSetSpec::SPACE_PIXEL);
  } else {
    proto.set_images_per_class(spec.images_per_class);
    if (spec.trajectory.has_value()) {
      WriteTrajectory(*spec.trajectory,
                      proto.mutable_matching()->mutable_trajectory());
      WriteExperts(spec.experts, proto.mutable_experts());
    } else {
      WriteMatching(spec.matching,
                    proto.mutable_matching()->mutable_gradient());
    }
    proto.mutable_synthesis()->set_init(ToProto(spec.synthesis.init));
    WriteSequence(spec.sequence, proto.mutable_sequence());
  }
  WriteEvaluation(spec.evaluation, proto.mutable_evaluation());
  v1::ExecutionSpec& execution = *proto.mutable_execution();
  execution.set_train_group(spec.execution.train_group);
  execution.set_forward_group(spec.execution.forward_group);
  execution.set_precision(
      spec.execution.precision == "tf32"   ? v1::ExecutionSpec::PRECISION_TF32
      : spec.execution.precision == "bf16" ? v1::ExecutionSpec::PRECISION_BF16
                                           : v1::ExecutionSpec::PRECISION_FP32);
  execution.set_reduction(spec.execution.reduction == ReductionOrder::kFast
                              ? v1::ExecutionSpec::REDUCTION_FAST
                              : v1::ExecutionSpec::REDUCTION_ORDERED);
  execution.set_micro_batch(spec.execution.micro_batch);
  WriteResources(spec.resources, proto.mutable_resources());
  proto.set_seed(spec.seed);
  for (const auto& [key, value] : spec.labels) {
    (*proto.mutable_labels())[key] = value;
  }
  proto.set_salt(spec.salt);
  return proto;
}

}  // namespace dasm
