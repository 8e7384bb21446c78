#include "common/spec/job_spec_proto.h"

#include <functional>
#include <limits>
#include <string>

#include "common/base/error.h"
#include "common/spec/preset.h"
#include "common/spec/spec_for_tests.h"
#include "common/spec/yaml.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using google::protobuf::util::MessageDifferencer;

// A small complete job; `more` is added at top level.
std::string Dasm(const std::string& more = "") {
  return "dataset: {name: fashion-mnist}\nimages_per_class: 10\n"
         "sequence: {dasm: {}}\n" +
         more;
}
std::string Idc(const std::string& more = "") {
  return "dataset: {name: cifar-10}\nimages_per_class: 10\n"
         "sequence: {one_segment: {}}\n" +
         more;
}

TEST(ExpandSpec, GivenWinsOverPresetAndPresetOverDefault) {
  const ExpandedSpec e = Expand(
      "preset: dasm-idc/mnist/ipc10/quick\n"
      "matching: {gradient: {inits: 3, augmentation: [flip]}}\n"
      "sequence: {dasm: {segments: [4, 6]}}\n");
  EXPECT_EQ(e.spec.matching.inits, 3);
  EXPECT_EQ(e.spec.matching.image_learning_rate, 1e-3);
  // A list replaces, it does not append.
  EXPECT_EQ(e.spec.matching.augmentation, std::vector{Augmentation::kFlip});
  EXPECT_EQ(e.spec.sequence.segments, (std::vector{4, 6}));
  EXPECT_EQ(e.origins.at("matching.gradient.inits"), "spec");
  EXPECT_EQ(e.origins.at("matching.gradient.augmentation"), "spec");
  EXPECT_EQ(e.origins.at("matching.gradient.distance"), "preset");
  EXPECT_EQ(e.origins.at("sequence.dasm.segments"), "spec");
  EXPECT_EQ(e.origins.at("sequence.dasm.pool"), "preset");
  EXPECT_EQ(e.origins.at("dataset.name"), "preset");
  EXPECT_EQ(e.origins.at("dataset.mean"), "derived");
  EXPECT_EQ(e.origins.at("evaluation.networks"), "derived");
  EXPECT_EQ(e.origins.at("preset"), "spec");
  EXPECT_EQ(e.origins.at("salt"), "default");
}

TEST(ExpandSpec, WithoutAPresetTheDatasetsRowGivesTheDefaults) {
  const ExpandedSpec e = Expand(Dasm());
  EXPECT_EQ(e.spec.matching.distance, Distance::kL1);
  EXPECT_EQ(e.spec.matching.image_learning_rate, 1e-4);
  EXPECT_EQ(e.spec.sequence.segments, (std::vector{5, 5}));
  EXPECT_EQ(e.spec.evaluation.networks, std::vector{e.spec.network});
  EXPECT_EQ(e.origins.at("matching.gradient.distance"), "default");
  EXPECT_EQ(e.origins.at("sequence.dasm.segments"), "derived");
  EXPECT_EQ(e.origins.at("evaluation.epochs"), "derived");
}

TEST(ExpandSpec, TrajectoriesWithoutAPresetTakeTheNearestRowOfMtt) {
  const ExpandedSpec e = Expand(
      "dataset: {name: cifar-10}\nimages_per_class: 10\n"
      "matching: {trajectory: {}}\nsequence: {one_segment: {}}\n");
  EXPECT_EQ(e.spec.Method(), "trajectory");
  ASSERT_TRUE(e.spec.trajectory.has_value());
  EXPECT_EQ(e.spec.trajectory->student_steps, 30);
  EXPECT_EQ(e.spec.trajectory->start_epoch_initial, 20);
  EXPECT_EQ(e.spec.trajectory->start_epoch_max, 20);
  EXPECT_EQ(e.spec.trajectory->step_size, 0.001);
  EXPECT_EQ(e.spec.sequence.stages.size(), 1u);
  EXPECT_EQ(e.spec.sequence.stages[0].expert_epochs, 50);
  EXPECT_EQ(e.spec.synthesis.factor, 1);
  EXPECT_EQ(e.spec.dataset.preprocessing, Preprocessing::kZca);
  EXPECT_EQ(e.spec.evaluation.training.recipe, Recipe::kTrajectory);
  EXPECT_EQ(e.spec.evaluation.training.learning_rate, 0);
  EXPECT_EQ(e.spec.evaluation.training.batch, 256);
  EXPECT_EQ(e.spec.evaluation.epochs, 1000);
  EXPECT_EQ(e.spec.evaluation.baselines, std::vector{Baseline::kRandom});
  EXPECT_EQ(e.spec.evaluation.orders, std::vector{Order::kUnion});
  EXPECT_FALSE(e.spec.evaluation.prefixes);
  EXPECT_EQ(e.origins.at("matching.trajectory.student_steps"), "default");
  EXPECT_EQ(e.origins.at("matching.trajectory.start_epoch_initial"), "derived");
  EXPECT_EQ(e.origins.at("experts.count"), "default");
}

TEST(ExpandSpec, GangsAreExactUnlessAskedOtherwise) {
  const JobSpec plain = Expand(Idc()).spec;
  EXPECT_EQ(plain.resources.min_ranks, 1);
  EXPECT_EQ(plain.resources.regroup_wait, 30);
  EXPECT_EQ(plain.resources.exchange, Exchange::kEveryStep);
  EXPECT_EQ(plain.resources.on_oom, OnOom::kFail);
  EXPECT_FALSE(plain.resources.trainer_rank);
  EXPECT_EQ(plain.execution.reduction, ReductionOrder::kOrdered);
  EXPECT_EQ(plain.execution.micro_batch, 0);
  EXPECT_EQ(plain.execution.precision, "fp32");
  EXPECT_EQ(plain.matching.inits_per_step, 1);

  const JobSpec all =
      Expand(Dasm("matching: {gradient: {inits: 100, inits_per_step: 4}}\n"
                  "execution: {precision: bf16}\n"
                  "resources: {ranks: 8, min_ranks: 2, regroup_wait: 5, "
                  "exchange: deferred, on_oom: replan, "
                  "trainer_rank: true}\n"))
          .spec;
  EXPECT_EQ(all.matching.inits_per_step, 4);
  EXPECT_EQ(all.execution.precision, "bf16");
  EXPECT_EQ(all.resources.min_ranks, 2);
  EXPECT_EQ(all.resources.regroup_wait, 5);
  EXPECT_EQ(all.resources.exchange, Exchange::kDeferred);
  EXPECT_EQ(all.resources.on_oom, OnOom::kReplan);
  EXPECT_TRUE(all.resources.trainer_rank);
}

TEST(ExpandSpec, FastRanksMayNotBecomeFewer) {
  const ExpandedSpec fast =
      Expand(Idc("execution: {reduction: fast}\n"
                 "resources: {ranks: 4, exchange: deferred}\n"));
  EXPECT_EQ(fast.spec.execution.reduction, ReductionOrder::kFast);
  EXPECT_EQ(fast.spec.resources.min_ranks, 4);
  EXPECT_EQ(fast.origins.at("resources.min_ranks"), "derived");
}

TEST(ExpandSpec, WithoutLaterSegmentsTheirInitsAreNotChecked) {
  EXPECT_EQ(Expand("preset: idc/cifar-10/ipc10\n"
                   "matching: {gradient: {inits: 2001, inits_per_step: 3}}\n")
                .spec.matching.inits_per_step,
            3);
}

// "Every field": those that have a meaning for the method.
TEST(ExpandSpec, ExpandedProtoExpandsToItself) {
  std::vector<std::string> specs = {
      Dasm("salt: x\nlabels: {a: b}\nname: n\n"),
      Idc("evaluation: {baselines: [none], augmentation: [none]}\n"),
      Idc("execution: {reduction: fast, precision: tf32, micro_batch: 64}\n"
          "resources: {ranks: 3, on_oom: replan, regroup_wait: 0.5}\n"),
      Idc("resources: {exchange: deferred, ranks: 2}\n"),
      Idc("resources: {trainer_rank: true, ranks: 3, min_ranks: 1}\n"),
      "dataset: {idx: {train_images: a, train_labels: b, test_images: c, "
      "test_labels: d}}\nsequence: {dasm: {}}\nimages_per_class: 3\n",
      "dataset: {cifar_binary: {train: [a, b, c, d, e, f, g, h, i, j, k], "
      "test: [t]}}\nsequence: {dasm: {}}\nimages_per_class: 3\n",
      "dataset: {image_folder: {train: a, test: b, size: 32}, mean: [0.5, "
      "0.5, 0.1], std: [1, 1, 0.3]}\nsequence: {dasm: {}}\n"
      "images_per_class: 3\n",
      "dataset: {name: mnist}\nmatching: {trajectory: {}}\n"
      "sequence: {one_segment: {}}\nimages_per_class: 1\n",
      "dataset: {name: cifar-10}\nmatching: {trajectory: {labels: "
      "soft_learned}}\nsequence: {seqmatch: {segments: [2, 1], stages: "
      "[{start_epoch_min: 1}, {batch: 20, expert_epochs: 30}]}}\n"
      "images_per_class: 3\nexperts: {schedule: {initial_share: 0.5, "
      "growth_epochs: 4, removals: [{after_epoch: 4, share: 0.1}, "
      "{after_epoch: 6, share: 0.2}]}}\n",
      "dataset: {name: svhn}\nmatching: {trajectory: {}}\n"
      "sequence: {dasm: {union: true}}\nimages_per_class: 3\n"
      "network: {name: resnet18, norm: batch}\n",
      "dataset: {name: mnist}\nsynthetic_set: {npz: a.npz}\n",
      "dataset: {name: mnist}\nsynthetic_set: {npy: {images: a, labels: b}, "
      "space: normalized}\nevaluation: {recipe: dc}\n",
  };
  for (const PresetInfo& info : AllPresets()) {
    specs.push_back("preset: " + info.name);
  }
  for (const std::string& yaml : specs) {
    const ExpandedSpec once = Expand(yaml);
    const auto twice = ExpandSpec(once.proto);
    ASSERT_TRUE(twice.ok()) << twice.status() << yaml;
    EXPECT_TRUE(MessageDifferencer::Equals(once.proto, twice->proto))
        << ToYaml(once.proto) << ToYaml(twice->proto);
    const auto read = ParseJobFile(ToYaml(once.proto));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(MessageDifferencer::Equals(once.proto, *read));
  }
}

TEST(ExpandSpec, ExpandedProtoHasEveryFieldOfItsMethod) {
  const v1::JobSpec proto = Expand(Dasm("preset: idc/mnist/ipc1\n")).proto;
  std::vector<std::string> missing;
  const std::function<void(const google::protobuf::Message&,
                           const std::string&)>
      visit = [&](const google::protobuf::Message& message,
                  const std::string& path) {
        const auto* type = message.GetDescriptor();
        const auto* reflection = message.GetReflection();
        for (int i = 0; i < type->field_count(); ++i) {
          const auto* field = type->field(i);
          const std::string name = path + field->name();
          const bool set = field->is_repeated()
                               ? reflection->FieldSize(message, field) > 0
                               : reflection->HasField(message, field);
          if (!set) {
            missing.push_back(name);
          } else if (!field->is_repeated() &&
                     field->cpp_type() ==
                         google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
            visit(reflection->GetMessage(message, field), name + ".");
          }
        }
      };
  visit(proto, "");
  EXPECT_EQ(missing,
            (std::vector<std::string>{
                "dataset.idx", "dataset.cifar_binary", "dataset.image_folder",
                "matching.trajectory", "sequence.one_segment",
                "sequence.dasm.stages", "sequence.dasm.union",
                "sequence.seqmatch", "synthetic_set", "labels", "experts"}));
}

TEST(ExpandSpec, NumbersAreTheDecimalsThatWereWritten) {
  const JobSpec spec = Expand(Idc("evaluation: {learning_rate: 0.1}\n")).spec;
  EXPECT_EQ(spec.evaluation.training.learning_rate, 0.1);
  EXPECT_EQ(spec.matching.net_weight_decay, 5e-4);
}

TEST(ExpandSpec, OneSegmentOfDasmIsIdc) {
  const auto dasm = ExpandSpec(Parse("preset: dasm-idc/cifar-10/ipc1\n"));
  const auto idc = ExpandSpec(Parse("preset: idc/cifar-10/ipc1\n"));
  EXPECT_EQ(dasm->spec.Method(), "idc");
  EXPECT_TRUE(dasm->proto.sequence().has_one_segment());
  EXPECT_EQ(dasm->spec.matching, idc->spec.matching);
  EXPECT_EQ(dasm->spec.evaluation, idc->spec.evaluation);
  // By hand as well, with settings that then have no effect.
  const ExpandedSpec one = Expand(
      "preset: dasm-idc/cifar-10/ipc10\nsequence: {dasm: {segments: [10]}}\n");
  EXPECT_EQ(one.spec.Method(), "idc");
}

TEST(ExpandSpec, AnAlternativeDisplacesThatOfThePreset) {
  const ExpandedSpec idc =
      Expand("preset: dasm-idc/mnist/ipc10\nsequence: {one_segment: {}}\n");
  EXPECT_EQ(idc.spec.Method(), "idc");
  EXPECT_EQ(idc.origins.at("sequence.one_segment"), "spec");
  EXPECT_FALSE(idc.origins.contains("sequence.dasm.mix"));
  const ExpandedSpec dasm =
      Expand("preset: idc/mnist/ipc10\nsequence: {dasm: {segments: [4, 6]}}\n");
  EXPECT_EQ(dasm.spec.sequence.segments, (std::vector{4, 6}));
  EXPECT_EQ(dasm.spec.sequence.discriminator_epochs, 200);
  EXPECT_EQ(dasm.origins.at("sequence.dasm.mix"), "default");
  const ExpandedSpec folder = Expand(
      "preset: dasm-idc/mnist/ipc10\n"
      "dataset: {image_folder: {train: a, test: b, size: 28}}\n");
  EXPECT_EQ(folder.spec.dataset.format, DatasetSpec::Format::kImageFolder);
  EXPECT_EQ(folder.spec.dataset.name, "custom");
  // Epochs over a preset's steps, which would win otherwise.
  const ExpandedSpec epochs =
      Expand("preset: idc/mnist/ipc10/quick\nevaluation: {epochs: 30}\n");
  EXPECT_EQ(epochs.spec.evaluation.epochs, 30);
  EXPECT_EQ(epochs.spec.evaluation.training.steps, 0);
}

TEST(ExpandSpec, AnotherRecipeBringsItsOwnSettings) {
  const JobSpec mnist =
      Expand("preset: idc/mnist/ipc10\nevaluation: {recipe: dc}\n").spec;
  EXPECT_EQ(mnist.evaluation.training.batch, 256);
  EXPECT_EQ(mnist.evaluation.training.cutmix, 0);
  EXPECT_EQ(mnist.evaluation.training.augmentation,
            (std::vector{Augmentation::kCrop, Augmentation::kScale,
                         Augmentation::kRotate}));
  EXPECT_EQ(mnist.evaluation.epochs, 1000);
  const JobSpec cifar =
      Expand("preset: idc/cifar-100/ipc10\nevaluation: {recipe: dc}\n").spec;
  EXPECT_TRUE(cifar.evaluation.training.augmentation.empty());
  EXPECT_EQ(cifar.evaluation.epochs, 300);
  EXPECT_EQ(cifar.dataset.mean[0], 0.5071);
  EXPECT_EQ(Expand("preset: idc/cifar-100/ipc10").spec.dataset.mean[0], 0.4914);
}

TEST(ExpandSpec, ShorterIterationsShortenLaterSegmentsToo) {
  EXPECT_EQ(Expand(Dasm("matching: {gradient: {inits: 8}}\n"))
                .spec.matching.later_inits,
            8);
  EXPECT_EQ(Expand("preset: dasm-idc/cifar-10/ipc10/fast\n"
                   "matching: {gradient: {inits: 4000}}\n")
                .spec.matching.later_inits,
            500);
}

TEST(ExpandSpec, NetworkNamesMayBeShort) {
  const JobSpec spec =
      Expand(Idc("network: {width: 64}\n"
                 "evaluation: {networks: [convnet, convnet-d4, convnet-batch, "
                 "convnet-w8-d1-none]}\n"))
          .spec;
  ASSERT_EQ(spec.evaluation.networks.size(), 4u);
  EXPECT_EQ(spec.evaluation.networks[0].ToString(), "convnet-d3-w64-instance");
  EXPECT_EQ(spec.evaluation.networks[1].ToString(), "convnet-d4-w64-instance");
  EXPECT_EQ(spec.evaluation.networks[2].ToString(), "convnet-d3-w64-batch");
  EXPECT_EQ(spec.evaluation.networks[3].ToString(), "convnet-d1-w8-none");
}

TEST(ExpandSpec, TheOrderOfAListWithoutEffectIsNotKept) {
  EXPECT_EQ(Expand(Idc("evaluation: {augmentation: [scale, color]}\n"))
                .spec.evaluation.training.augmentation,
            (std::vector{Augmentation::kColor, Augmentation::kScale}));
}

TEST(ExpandSpec, AnExistingSetLeavesMatchingOut) {
  const ExpandedSpec e = Expand(
      "preset: dasm-idc/mnist/ipc10\nsynthetic_set: {npz: a.npz}\n"
      "synthesis: {factor: 1}\n");
  EXPECT_EQ(e.spec.Method(), "evaluate");
  EXPECT_FALSE(e.proto.has_matching());
  EXPECT_FALSE(e.proto.has_images_per_class());
  EXPECT_TRUE(e.spec.evaluation.baselines.empty());
  // The number of images is not known yet.
  EXPECT_EQ(e.spec.evaluation.epochs, 0);
  const std::string hex(64, 'a');
  EXPECT_EQ(Expand("dataset: {name: mnist}\nsynthesis: {factor: 2}\n"
                   "synthetic_set: {digest: \"" +
                   hex + "\"}")
                .spec.synthetic_set->digest,
            "sha256:" + hex);
}

TEST(ExpandSpec, ErrorsNameFieldAndRemedy) {
  const std::string set = "dataset: {name: mnist}\n";
  ExpectRefused({
      {"preset: dasm-idc/mnsit/ipc10", "preset", "dasm-idc/mnist/ipc10"},
      {"dataset: {name: mnist}\nimages_per_class: 5", "sequence",
       "is required"},
      {"dataset: {name: mnist}\nimages_per_class: 5\nsequence: {}", "sequence",
       "is required"},
      {"dataset: {name: mnist}\nsequence: {dasm: {}}", "images_per_class",
       "is required"},
      {Dasm("seed: 1\nsynthesis: {factor: 9}"), "synthesis.factor",
       "9 is outside 1 to 8"},
      {"preset: idc/mnist/ipc1\nimages_per_class: 0", "images_per_class",
       "outside 1"},
      {"dataset: {name: mnits}\nimages_per_class: 1\nsequence: {dasm: {}}",
       "dataset.name", "did you mean \"mnist\"?"},
      {"preset: idc/mnist/ipc1\ndataset: {name: mnist, idx: {}}", "dataset",
       "only one of"},
      {"preset: idc/mnist/ipc1\ndataset: {idx: {train_images: a}}",
       "dataset.idx.train_labels", "is required"},
      {"preset: idc/mnist/ipc1\ndataset: {cifar_binary: {train: [a]}}",
       "dataset.cifar_binary.test", "1 to 1000"},
      {"preset: idc/mnist/ipc1\ndataset: {image_folder: {train: a, test: b}}",
       "dataset.image_folder.size", "is required"},
      {"preset: idc/mnist/ipc1\ndataset: {image_folder: {train: a, test: b, "
       "size: 32, channels: 2}}",
       "dataset.image_folder.channels", "neither"},
      {"preset: idc/mnist/ipc1\ndataset: {mean: [0.1, 0.2]}", "dataset.std",
       "give both"},
      {"preset: idc/mnist/ipc1\ndataset: {mean: [0.1], std: [0]}",
       "dataset.std", "excluded"},
      {"preset: dasm-idc/mnist/ipc10\nsequence: {dasm: {segments: [5, 4]}}",
       "sequence.dasm.segments", "sums to 9, but images_per_class is 10"},
      {"preset: dasm-idc/mnist/ipc10\nsequence: {dasm: {segments: [11, -1]}}",
       "sequence.dasm.segments", "at least 1"},
      {"preset: dasm-idc/mnist/ipc10\nsequence: {dasm: {segments: "
       "[2147483647, 2147483647, 12]}}",
       "sequence.dasm.segments", "sums to 4294967306"},
      {"preset: idc/mnist/ipc1\nsequence: {dasm: {}, one_segment: {}}",
       "sequence", "only one of"},
      {"preset: dasm-idc/mnist/ipc10\nsequence: {dasm: {mix: 1.5}}",
       "sequence.dasm.mix", "1.5 is outside 0 to 1"},
      {"preset: dasm-idc/mnist/ipc10\nsequence: {dasm: {trim: 0.6}}",
       "sequence.dasm.trim", "outside"},
      {"preset: dasm-idc/mnist/ipc10\nsequence: {dasm: {discriminators: 0}}",
       "sequence.dasm.discriminators", "outside"},
      {Idc("matching: {gradient: {image_learning_rate: 0}}"),
       "matching.gradient.image_learning_rate", "excluded"},
      {Idc("matching: {gradient: {image_momentum: 1}}"),
       "matching.gradient.image_momentum", "excluded"},
      {Idc("matching: {gradient: {inits: 1000000, steps_per_init: 100000}}"),
       "matching.gradient.steps_per_init", "steps a segment"},
      {Idc("matching: {gradient: {augmentation: [color, none]}}"),
       "matching.gradient.augmentation", "alone"},
      {Idc("matching: {gradient: {augmentation: [color, color]}}"),
       "matching.gradient.augmentation", "twice"},
      {Idc("network: {name: resnet}"), "network.name",
       "known are convnet, mlp"},
      {Idc("network: {depth: 9}"), "network.depth", "outside"},
      {Idc("evaluation: {networks: [convnet-x3]}"), "evaluation.networks[0]",
       "is not a network"},
      {Idc("evaluation: {networks: [convnet-d3-d4]}"), "evaluation.networks[0]",
       "is not a network"},
      {Idc("evaluation: {networks: [convnet-d99]}"),
       "evaluation.networks[0].depth", "outside"},
      {Idc("evaluation: {networks: [convnet, convnet-d3]}"),
       "evaluation.networks[1]", "listed twice"},
      {Idc("evaluation: {networks: [vit]}"), "evaluation.networks[0].name",
       "known are convnet"},
      {Idc("evaluation: {baselines: [none, tiles]}"), "evaluation.baselines",
       "alone"},
      {Idc("evaluation: {baselines: [tiles, tiles]}"), "evaluation.baselines",
       "twice"},
      {Idc("resources: {checkpoint_interval: 0}"),
       "resources.checkpoint_interval", "outside"},
      {Idc("execution: {train_group: 0}"), "execution.train_group", "outside"},
      {Idc("matching: {gradient: {inits: 100, inits_per_step: 3}}"),
       "matching.gradient.inits", "use 99 or 102"},
      {Idc("matching: {gradient: {inits: 2, inits_per_step: 3}}"),
       "matching.gradient.inits", "use 3"},
      {Dasm("matching: {gradient: {inits: 99, later_inits: 100, "
            "inits_per_step: 3}}"),
       "matching.gradient.later_inits", "use 99 or 102"},
      {Idc("matching: {gradient: {inits_per_step: 0}}"),
       "matching.gradient.inits_per_step", "outside"},
      {Idc("execution: {micro_batch: -1}"), "execution.micro_batch", "outside"},
      {Idc("execution: {micro_batch: 16}\nnetwork: {norm: batch}"),
       "execution.micro_batch", "use 0, or network.norm instance"},
      {Idc("resources: {ranks: 257}"), "resources.ranks", "outside 1 to 256"},
      {Idc("resources: {ranks: 2, min_ranks: 3}"), "resources.min_ranks",
       "outside 1 to 2"},
      {Idc("resources: {min_ranks: 0}"), "resources.min_ranks", "outside 1"},
      {Idc("resources: {regroup_wait: -1}"), "resources.regroup_wait",
       "outside"},
      {Idc("execution: {reduction: fast}\n"
           "resources: {ranks: 4, min_ranks: 2}"),
       "resources.min_ranks", "or reduction ordered"},
      {Idc("execution: {micro_batch: 16}\nresources: {exchange: deferred}"),
       "resources.exchange", "or micro_batch 0"},
      {set + "synthetic_set: {npz: a}\nresources: {exchange: deferred}",
       "resources.exchange", "use every_step"},
      {Idc("resources: {trainer_rank: true}"), "resources.trainer_rank",
       "use ranks 2 or more, or false"},
      {Idc("matching: {gradient: {net_steps: 0}}\n"
           "resources: {ranks: 2, trainer_rank: true}"),
       "resources.trainer_rank", "net_steps is 0: use false, or more steps"},
      {Idc("matching: {gradient: {steps_per_init: 1}}\n"
           "resources: {ranks: 2, trainer_rank: true}"),
       "resources.trainer_rank", "steps_per_init is 1: use false"},
      {set + "synthetic_set: {npz: a}\n"
             "resources: {ranks: 2, trainer_rank: true}",
       "resources.trainer_rank", "nothing is matched: use false"},
      {set + "synthetic_set: {}", "synthetic_set", "exactly one"},
      {set + "synthetic_set: {npz: a, digest: b}", "synthetic_set",
       "exactly one"},
      {set + "synthetic_set: {npy: {images: a}}", "synthetic_set.npy.labels",
       "is required"},
      {set + "synthetic_set: {digest: abc}", "synthetic_set.digest",
       "64 lower-case"},
      {set + "synthetic_set: {digest: \"" + std::string(64, '1') + "\"}",
       "synthesis.factor", "is required with"},
      {set + "synthetic_set: {npz: a}\nimages_per_class: 1", "images_per_class",
       "synthetic_set"},
      {set + "synthetic_set: {npz: a}\nsequence: {dasm: {}}", "sequence",
       "remove one"},
      {set + "synthetic_set: {npz: a}\nmatching: {}", "matching", "remove one"},
      {set + "synthetic_set: {npz: a}\nsynthesis: {init: real}",
       "synthesis.init", "remove one"},
      {set + "synthetic_set: {npz: a}\nevaluation: {baselines: [start]}",
       "evaluation.baselines", "does not have"},
      {Idc("name: \"a\\tb\""), "name", "control character"},
      {Idc("salt: " + std::string(201, 'x')), "salt", "above 200"},
  });
  EXPECT_EQ(FieldOf(ExpandSpec(v1::JobSpec()).status()), "dataset");
}

TEST(ExpandSpec, TooManyLabelsAreRefused) {
  v1::JobSpec spec = Parse(Idc());
  for (int i = 0; i < 33; ++i) {
    (*spec.mutable_labels())["l" + std::to_string(i)] = "x";
  }
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()), "labels");
}

TEST(ExpandSpec, UnknownFieldsOnTheWireAreRefusedWhereTheyAre) {
  v1::JobSpec spec = Parse(Idc("matching: {gradient: {inits: 3}}\n"));
  auto* gradient = spec.mutable_matching()->mutable_gradient();
  gradient->GetReflection()->MutableUnknownFields(gradient)->AddVarint(977, 1);
  // As a server receives it.
  v1::JobSpec received;
  ASSERT_TRUE(received.ParseFromString(spec.SerializeAsString()));
  const auto expanded = ExpandSpec(received);
  EXPECT_EQ(FieldOf(expanded.status()), "matching.gradient");
  EXPECT_NE(std::string(expanded.status().message()).find("977"),
            std::string::npos);
}

TEST(ExpandSpec, UnknownAndUnspecifiedEnumNumbersAreRefused) {
  v1::JobSpec spec = Parse(Idc());
  spec.mutable_network()->set_norm(static_cast<v1::NetworkSpec::Norm>(77));
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()), "network.norm");
  spec.mutable_network()->set_norm(v1::NetworkSpec::NORM_UNSPECIFIED);
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()), "network.norm");
  spec.mutable_network()->clear_norm();
  spec.mutable_evaluation()->add_baselines(
      static_cast<v1::EvaluationSpec::Baseline>(99));
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()), "evaluation.baselines");
}

TEST(ExpandSpec, ANumberThatIsNoneIsRefused) {
  v1::JobSpec spec = Parse(Idc());
  spec.mutable_evaluation()->set_cutmix(
      std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()), "evaluation.cutmix");
}

DatasetFacts Facts() {
  return {.classes = 10,
          .channels = 1,
          .height = 28,
          .width = 28,
          .train_images = 1000,
          .test_images = 100,
          .smallest_class = 90};
}

TEST(ValidateAgainstDataset, NamesWhatDoesNotFit) {
  const JobSpec spec = Expand(Dasm()).spec;
  EXPECT_TRUE(ValidateAgainstDataset(spec, Facts()).ok());

  const auto field = [](const JobSpec& s, const DatasetFacts& f) {
    const absl::Status status = ValidateAgainstDataset(s, f);
    return status.code() == absl::StatusCode::kInvalidArgument
               ? FieldOf(status)
               : status.ToString();
  };
  JobSpec many = spec;
  many.images_per_class = 91;
  EXPECT_EQ(field(many, Facts()), "images_per_class");
  DatasetFacts unknown_sizes = Facts();
  unknown_sizes.smallest_class = 0;
  EXPECT_TRUE(ValidateAgainstDataset(many, unknown_sizes).ok());
  many.images_per_class = 101;
  EXPECT_EQ(field(many, unknown_sizes), "images_per_class");

  JobSpec batch = spec;
  batch.matching.real_batch = 91;
  EXPECT_EQ(field(batch, Facts()), "matching.gradient.real_batch");
  batch = spec;
  batch.matching.net_batch = 1001;
  EXPECT_EQ(field(batch, Facts()), "matching.gradient.net_batch");

  JobSpec tiles = spec;
  tiles.synthesis.factor = 7;
  EXPECT_TRUE(ValidateAgainstDataset(tiles, Facts()).ok());
  tiles.synthesis.factor = 8;
  EXPECT_EQ(field(tiles, Facts()), "synthesis.factor");

  JobSpec deep = spec;
  deep.network.depth = 5;  // 28 grey pixels are shown as 32
  EXPECT_TRUE(ValidateAgainstDataset(deep, Facts()).ok());
  deep.network.depth = 6;
  EXPECT_EQ(field(deep, Facts()), "network.depth");
  JobSpec deep_test = spec;
  deep_test.evaluation.networks.push_back({.depth = 6});
  EXPECT_EQ(field(deep_test, Facts()), "evaluation.networks[1]");

  DatasetFacts colour = Facts();
  colour.channels = 3;
  EXPECT_EQ(field(spec, colour), "dataset.mean");
  DatasetFacts one_class = Facts();
  one_class.classes = 1;
  EXPECT_EQ(field(spec, one_class), "dataset");
}

TEST(ValidateAgainstDataset, AnExistingSetNeedsNoClassSize) {
  JobSpec spec =
      Expand("dataset: {name: mnist}\nsynthetic_set: {npz: a.npz}\n").spec;
  DatasetFacts facts = Facts();
  facts.smallest_class = 1;
  EXPECT_TRUE(ValidateAgainstDataset(spec, facts).ok());
}

}  // namespace
}  // namespace dasm
