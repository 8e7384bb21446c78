#include "common/spec/preset.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/known_dataset.h"
#include "common/spec/spec_for_tests.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using enum Augmentation;

TEST(Preset, EveryOneExpandsAndFitsItsDataset) {
  std::set<std::string> names;
  size_t gradient = 0;
  for (const PresetInfo& info : AllPresets()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.summary.empty());
    EXPECT_FALSE(info.source.empty());
    const JobSpec spec = ExpandPreset(info.name);
    const KnownDataset* known = FindKnownDataset(spec.dataset.name);
    if (known == nullptr) {
      // Folders, of trajectory matching alone.
      ASSERT_TRUE(spec.trajectory.has_value()) << info.name;
      continue;
    }
    if (!spec.trajectory.has_value()) ++gradient;
    const absl::Status fits = ValidateAgainstDataset(
        spec,
        {.classes = known->classes,
         .channels = static_cast<int>(known->mean.size()),
         .height = known->side,
         .width = known->side,
         .train_images = known->train_images,
         .test_images = 10000,
         .smallest_class = known->train_images / known->classes * 9 / 10});
    EXPECT_TRUE(fits.ok()) << info.name << ": " << fits;
  }
  // 19 rows of two methods, two factors and three budgets; DASM above one
  // image per class also strict.
  EXPECT_EQ(gradient, 19u * 2 * 2 * 3 + 14u * 2 * 3);
}

struct Row {
  const char* dataset;
  Distance distance;
  double rate;
  int net_steps;
  int base_size;
};

// From Kim et al.'s reproduction table.
TEST(Preset, RowsHoldThePublishedNumbers) {
  const Row rows[] = {
      {"mnist", Distance::kL1, 1e-4, 8, 28},
      {"fashion-mnist", Distance::kL1, 1e-4, 8, 32},
      {"svhn", Distance::kMse, 5e-3, 8, 32},
      {"cifar-10", Distance::kMse, 5e-3, 32, 32},
      {"cifar-100", Distance::kMse, 5e-3, 32, 32},
  };
  for (const Row& row : rows) {
    for (const char* method : {"idc", "dasm-idc"}) {
      for (const int ipc : {1, 10, 50}) {
        const std::string name =
            absl::StrCat(method, "/", row.dataset, "/ipc", ipc);
        const JobSpec spec = ExpandPreset(name);
        const GradientMatchingSpec& m = spec.matching;
        EXPECT_EQ(spec.images_per_class, ipc);
        EXPECT_EQ(m.distance, row.distance) << name;
        EXPECT_EQ(m.image_learning_rate, row.rate) << name;
        EXPECT_EQ(m.net_steps, row.net_steps) << name;
        EXPECT_EQ(m.base_size, row.base_size) << name;
        EXPECT_EQ(m.layers, Layers::kConvolutions);
        EXPECT_EQ(m.inits, 2000);
        EXPECT_EQ(m.later_inits, 2000);
        EXPECT_EQ(m.steps_per_init, 100);
        EXPECT_EQ(m.real_batch, 64);
        EXPECT_EQ(m.synthetic_batch, 128);
        EXPECT_EQ(m.image_momentum, 0.5);
        EXPECT_EQ(m.net_batch, 64);
        EXPECT_EQ(m.net_learning_rate, 0.01);
        EXPECT_EQ(m.net_momentum, 0.9);
        EXPECT_EQ(m.net_weight_decay, 5e-4);
        EXPECT_TRUE(m.scale_learning_rate);
        EXPECT_EQ(spec.network, NetworkSpec());
        EXPECT_EQ(spec.evaluation.training.batch, 64);
        EXPECT_EQ(spec.evaluation.training.learning_rate, 0.01);
        EXPECT_EQ(spec.evaluation.training.momentum, 0.9);
        EXPECT_EQ(spec.evaluation.training.weight_decay, 5e-4);
        EXPECT_EQ(spec.evaluation.repeats, 3);
      }
    }
  }
}

TEST(Preset, AugmentationFollowsDatasetAndFactor) {
  const JobSpec cifar = ExpandPreset("idc/cifar-10/ipc10");
  EXPECT_EQ(cifar.matching.augmentation, (std::vector{kColor, kCrop, kCutout}));
  EXPECT_EQ(cifar.matching.net_augmentation, (std::vector{kColor, kCrop}));
  EXPECT_EQ(cifar.matching.net_cutmix, 0.5);
  EXPECT_EQ(cifar.evaluation.training.augmentation,
            (std::vector{kColor, kCrop, kFlip, kScale, kRotate}));
  EXPECT_EQ(cifar.evaluation.training.cutmix, 0.5);

  const JobSpec mnist = ExpandPreset("idc/mnist/ipc10");
  EXPECT_EQ(mnist.matching.augmentation, (std::vector{kColor, kCrop}));
  EXPECT_EQ(mnist.matching.net_cutmix, 0);
  EXPECT_EQ(mnist.evaluation.training.augmentation,
            (std::vector{kColor, kCrop, kScale, kRotate}));
  EXPECT_EQ(mnist.evaluation.training.cutmix, 0);
  const JobSpec mnist1 = ExpandPreset("idc/mnist/ipc10/factor1");
  EXPECT_EQ(mnist1.matching.augmentation,
            (std::vector{kColor, kCrop, kCutout}));
  EXPECT_EQ(mnist1.matching.net_cutmix, 0.5);
  EXPECT_EQ(mnist1.evaluation.training.cutmix, 0.5);

  const JobSpec svhn = ExpandPreset("idc/svhn/ipc1");
  EXPECT_EQ(svhn.evaluation.training.augmentation,
            (std::vector{kColor, kCrop, kScale, kRotate}));
  EXPECT_EQ(svhn.evaluation.training.cutmix, 0.5);
  const JobSpec svhn1 = ExpandPreset("idc/svhn/ipc1/factor1");
  EXPECT_EQ(svhn1.evaluation.training.augmentation,
            (std::vector{kColor, kCrop, kCutout, kScale, kRotate}));
  EXPECT_EQ(svhn1.evaluation.training.cutmix, 0);
}

TEST(Preset, SegmentsAndPoolFollowTheMethod) {
  using Segments = std::vector<int>;
  EXPECT_EQ(ExpandPreset("idc/cifar-10/ipc50").sequence.segments, Segments{50});
  EXPECT_EQ(ExpandPreset("dasm-idc/cifar-10/ipc1").sequence.segments,
            Segments{1});
  EXPECT_EQ(ExpandPreset("dasm-idc/cifar-10/ipc10").sequence.segments,
            (Segments{5, 5}));
  EXPECT_EQ(ExpandPreset("dasm-idc/cifar-10/ipc50").sequence.segments,
            (Segments{25, 25}));
  EXPECT_EQ(ExpandPreset("dasm-idc/cifar-10/ipc100").sequence.segments,
            (Segments{50, 50}));
  EXPECT_EQ(ExpandPreset("dasm-idc/cifar-10/ipc200").sequence.segments,
            (Segments{50, 50, 50, 50}));
  EXPECT_EQ(ExpandPreset("dasm-idc/cifar-10/ipc1000").sequence.segments.size(),
            20u);

  const SequenceSpec usual = ExpandPreset("dasm-idc/mnist/ipc10").sequence;
  EXPECT_EQ(usual.pool, PoolRule::kMisclassified);
  EXPECT_EQ(usual.mix, 0.5);
  EXPECT_EQ(usual.trim, 0.05);
  EXPECT_EQ(usual.discriminators, 3);
  EXPECT_EQ(usual.discriminator_epochs, 200);
  EXPECT_EQ(usual.discriminator_steps, 20000);
  EXPECT_EQ(ExpandPreset("dasm-idc/svhn/ipc10").sequence.discriminator_epochs,
            300);
  const SequenceSpec strict =
      ExpandPreset("dasm-idc/mnist/ipc10/strict").sequence;
  EXPECT_EQ(strict.pool, PoolRule::kMisclassified);
  EXPECT_EQ(strict.mix, 1);
  EXPECT_EQ(strict.trim, 0);
}

TEST(Preset, FashionMnistUsesFactorOneFromFiftyOn) {
  EXPECT_EQ(ExpandPreset("idc/fashion-mnist/ipc10").synthesis.factor, 2);
  EXPECT_EQ(ExpandPreset("idc/fashion-mnist/ipc10/factor1").synthesis.factor,
            1);
  EXPECT_EQ(ExpandPreset("idc/fashion-mnist/ipc50").synthesis.factor, 1);
  EXPECT_EQ(ExpandPreset("idc/fashion-mnist/ipc50/factor2").synthesis.factor,
            2);
  EXPECT_FALSE(FindPreset("idc/fashion-mnist/ipc50/factor1").ok());
  EXPECT_FALSE(FindPreset("idc/cifar-10/ipc10/factor2").ok());
}

TEST(Preset, BudgetsDifferInWork) {
  const JobSpec fast = ExpandPreset("dasm-idc/cifar-10/ipc50/fast");
  EXPECT_EQ(fast.matching.inits, 2000);
  EXPECT_EQ(fast.matching.later_inits, 500);
  const JobSpec quick = ExpandPreset("dasm-idc/cifar-10/ipc50/quick");
  EXPECT_EQ(quick.matching.image_learning_rate, 0.05);
  EXPECT_LE(quick.matching.inits, 6);
  EXPECT_LE(quick.matching.steps_per_init, 20);
  EXPECT_EQ(quick.network.width, 128);
  EXPECT_GT(quick.evaluation.training.steps, 0);
  EXPECT_EQ(ExpandPreset("idc/mnist/ipc1/paper").matching.inits, 2000);
}

TEST(Preset, EvaluationTurnsShortFromTwentyThousandDecodedImages) {
  EXPECT_EQ(ExpandPreset("idc/cifar-10/ipc50").evaluation.epochs, 1000);
  EXPECT_EQ(ExpandPreset("idc/cifar-10/ipc200").evaluation.epochs, 1000);
  EXPECT_EQ(ExpandPreset("idc/cifar-10/ipc500").evaluation.epochs, 300);
  EXPECT_EQ(ExpandPreset("idc/cifar-10/ipc500/factor1").evaluation.epochs,
            1000);
  // 200 a class: 1000 epochs, two thirds of it rounded down to hundreds.
  EXPECT_EQ(ExpandPreset("idc/cifar-100/ipc50").evaluation.epochs, 600);
  EXPECT_EQ(ExpandPreset("idc/cifar-100/ipc10").evaluation.epochs, 1000);
}

TEST(Preset, EvaluationTableHasEveryStep) {
  EXPECT_EQ(IdcEvaluationEpochs(19999, 10), 1000);
  EXPECT_EQ(IdcEvaluationEpochs(20000, 20000), 2000);
  EXPECT_EQ(IdcEvaluationEpochs(100000, 10000), 1300);
  EXPECT_EQ(IdcEvaluationEpochs(20000, 50), 500);
  EXPECT_EQ(IdcEvaluationEpochs(20000, 80), 500);
  EXPECT_EQ(IdcEvaluationEpochs(20000, 99), 500);
  EXPECT_EQ(IdcEvaluationEpochs(20000, 400), 1000);
  EXPECT_EQ(IdcEvaluationEpochs(50100, 100), 200);
}

TEST(Preset, AMisspeltNameNamesTheNearest) {
  const auto found = FindPreset("dasm-idc/fashion-mnits/ipc10");
  EXPECT_EQ(FieldOf(found.status()), "preset");
  EXPECT_NE(std::string(found.status().message())
                .find("\"dasm-idc/fashion-mnist/ipc10\""),
            std::string::npos)
      << found.status();
}

}  // namespace
}  // namespace dasm
