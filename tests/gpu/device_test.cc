// What only a device can show: kernels, graphs, NCCL, precision, memory.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/gpu/gpu_fixture.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/device/device_ops.h"
#include "worker/engine/device/precision.h"
#include "worker/engine/network/convolution.h"
#include "worker/engine/network/norm_relu_pool.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using Tensors = std::vector<at::Tensor>;

const at::Device kGpu(at::kCUDA, 0);

// Pooled maps, their gradients, and the gradients of those.
Tensors AllDerivatives(const Tensors& in) {
  Tensors leaves;
  for (int i = 0; i < 3; ++i) leaves.push_back(in[i].detach().requires_grad_());
  const at::Tensor g = in[3].detach().requires_grad_();
  const at::Tensor pooled = NormReluPool(leaves[0], leaves[1], leaves[2], 1e-5);
  const Tensors first =
      torch::autograd::grad({pooled}, leaves, {g}, true, true);
  const Tensors second = torch::autograd::grad(
      first, {g, leaves[0], leaves[1]}, {in[4], in[5], in[6]}, true, false);
  Tensors all = {pooled.detach()};
  for (const at::Tensor& t : first) all.push_back(t.detach());
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

Tensors Case(int64_t n, int64_t c, int64_t h, int64_t w, at::ScalarType type) {
  at::manual_seed(n * 1000 + c + h * w);
  const auto options = at::TensorOptions(type);
  return {at::randn({n, c, h, w}, options),
          at::randn({c}, options) + 0.5,
          at::randn({c}, options),
          at::randn({n, c, h / 2, w / 2}, options),
          at::randn({n, c, h, w}, options),
          at::randn({c}, options),
          at::randn({c}, options)};
}

Tensors ToGpu(const Tensors& tensors) {
  Tensors moved;
  for (const at::Tensor& t : tensors) moved.push_back(t.to(kGpu));
  return moved;
}

TEST(NormReluPoolOnDevice, AgreesWithTheHostAndWithItself) {
  Gpu();
  for (const auto& [n, c, h, w] :
       {std::tuple(3, 5, 8, 8), std::tuple(2, 128, 32, 32),
        std::tuple(4, 33, 7, 9), std::tuple(1, 64, 2, 2)}) {
    const Tensors in = Case(n, c, h, w, at::kDouble);
    const Tensors host = AllDerivatives(in);
    const Tensors device = AllDerivatives(ToGpu(in));
    const Tensors again = AllDerivatives(ToGpu(in));
    ASSERT_EQ(host.size(), device.size());
    for (size_t i = 0; i < host.size(); ++i) {
      EXPECT_TRUE(at::allclose(device[i].cpu(), host[i], 1e-8, 1e-9))
          << "result " << i << " of " << in[0].sizes();
      EXPECT_TRUE(device[i].equal(again[i])) << "result " << i;
    }
  }
}

TEST(GatherBytesOnDevice, HasTheBitsOfTheHost) {
  Gpu();
  const at::Tensor bytes =
      at::randint(0, 256, {50, 3, 32, 32}, at::TensorOptions(at::kByte));
  const at::Tensor tables = at::rand({3, 256});
  const at::Tensor rows = at::randint(0, 50, {64}, at::kLong);
  EXPECT_TRUE(GatherBytes(bytes.to(kGpu), tables.to(kGpu), rows.to(kGpu))
                  .cpu()
                  .equal(GatherBytes(bytes, tables, rows)));
}

// A second-order step as the matching step is, with everything that changes as
// an input.
Tensors MatchingStep(const Tensors& in) {
  const at::Tensor weight = in[0].detach().requires_grad_();
  const at::Tensor scale = in[1].detach().requires_grad_();
  const at::Tensor shift = in[2].detach().requires_grad_();
  const at::Tensor images = in[3].detach().requires_grad_();
  const auto gradient = [&](const at::Tensor& x, bool create_graph) {
    const at::Tensor maps =
        NormReluPool(Convolution(x, weight, shift, 1), scale, shift, 1e-5);
    const at::Tensor loss = at::cross_entropy_loss(maps.mean({2, 3}), in[5]);
    return torch::autograd::grad({loss}, {weight}, {}, create_graph,
                                 create_graph)[0];
  };
  const at::Tensor target = gradient(in[4], false);
  const at::Tensor distance = (gradient(images, true) - target).abs().sum();
  return {torch::autograd::grad({distance}, {images})[0], distance.detach()};
}

TEST(StepGraphOnDevice, ReplayHasTheBitsOfCalling) {
  const auto graph = Gpu()->MakeStepGraph(0);
  EagerStepGraph eager(kGpu);
  for (int k = 0; k < 5; ++k) {
    at::manual_seed(k);
    const Tensors in = {
        at::randn({16, 3, 3, 3}),  at::rand({16}) + 0.5,
        at::randn({16}),           at::randn({8, 3, 16, 16}),
        at::randn({8, 3, 16, 16}), at::randint(0, 16, {8}, at::kLong)};
    const Tensors expected = eager.Run("step", in, MatchingStep);
    const Tensors got = graph->Run("step", in, MatchingStep);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(got[i].equal(expected[i])) << "call " << k;
    }
  }
  EXPECT_EQ(graph->recorded(), 1);
  EXPECT_EQ(graph->refused(), 0);
}

TEST(StepGraphOnDevice, AStepThatLooksAtAValueIsCalledInstead) {
  const auto graph = Gpu()->MakeStepGraph(0);
  const StepGraph::Step looks = [](const Tensors& in) {
    return Tensors{in[0] * in[0].sum().item<float>()};
  };
  for (int k = 1; k <= 4; ++k) {
    const Tensors out = graph->Run("looks", {at::full({2}, float(k))}, looks);
    EXPECT_EQ(out[0][0].item<float>(), 2.0f * k * k);
  }
  EXPECT_EQ(graph->refused(), 1);
  // The device is none the worse for it.
  EXPECT_TRUE(Gpu()->Synchronize(0).ok());
}

std::vector<float> Rows(int64_t shards, int64_t length) {
  std::vector<float> rows;
  for (int64_t i = 0; i < shards * length; ++i) {
    rows.push_back(static_cast<float>(std::sin(i) * std::pow(2.0, i % 23)));
  }
  return rows;
}

std::vector<float> HostSum(const std::vector<float>& rows, int64_t shards) {
  std::vector<float> sum(rows.size() / shards);
  SingleProcessCollective host;
  EXPECT_TRUE(host.SumShards(rows, shards, absl::MakeSpan(sum)).ok());
  return sum;
}

// What each rank's `body` returned, a thread and a device a rank.
std::vector<absl::Status> OnRanks(
    int ranks, DeviceGangOptions options, bool one_device,
    const std::function<absl::Status(Collective*)>& body) {
  options.id = *Gpu()->NewGangId();
  options.ranks = ranks;
  std::vector<absl::Status> statuses(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank, options]() mutable {
      options.rank = rank;
      options.device = one_device ? 0 : rank;
      auto gang = Gpu()->JoinGang(options);
      statuses[rank] = gang.ok() ? body(gang->get()) : gang.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

int Ranks() { return std::min<int>(2, Gpu()->Devices()->size()); }

TEST(NcclOnDevice, OrderedSumGatherAndBroadcastKeepTheContract) {
  for (int ranks = 1; ranks <= Ranks(); ++ranks) {
    for (int64_t shards : {1, 3, 10}) {
      const std::vector<float> rows = Rows(shards, 5003);
      const std::vector<float> expected = HostSum(rows, shards);
      for (const absl::Status& status :
           OnRanks(ranks, {}, false, [&](Collective* c) -> absl::Status {
             std::vector<float> owned(rows.size(), -1.0f);
             for (int64_t s = c->rank(); s < shards; s += c->size()) {
               std::copy_n(rows.begin() + s * 5003, 5003,
                           owned.begin() + s * 5003);
             }
             std::vector<float> sum(5003);
             absl::Status status =
                 c->SumShards(owned, shards, absl::MakeSpan(sum));
             if (!status.ok()) return status;
             EXPECT_EQ(std::memcmp(sum.data(), expected.data(), 4 * 5003), 0);
             status = c->GatherShards(absl::MakeSpan(owned), shards);
             if (!status.ok()) return status;
             EXPECT_EQ(owned, rows);
             std::string word = c->rank() == 0 ? "stop" : "????";
             status = c->Broadcast(absl::MakeSpan(word));
             EXPECT_EQ(word, "stop");
             return status.ok() ? c->Barrier() : status;
           })) {
        EXPECT_TRUE(status.ok()) << status;
      }
    }
  }
}

TEST(NcclOnDevice, ARankAloneAddsItsRowsOnTheDevice) {
  const std::vector<float> rows = Rows(7, 1000);
  const at::Tensor on_device =
      at::from_blob(const_cast<float*>(rows.data()), {7, 1000}, at::kFloat)
          .to(kGpu);
  at::Tensor sum = at::empty({1000}, on_device.options());
  DeviceGangOptions options;
  options.memory = Collective::Memory::kDevice;
  auto alone = Gpu()->JoinGang(options);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_TRUE(
      (*alone)
          ->SumShards(
              absl::MakeConstSpan(on_device.const_data_ptr<float>(), 7000), 7,
              absl::MakeSpan(sum.mutable_data_ptr<float>(), 1000))
          .ok());
  const at::Tensor got = sum.cpu();
  EXPECT_EQ(
      std::memcmp(got.const_data_ptr<float>(), HostSum(rows, 7).data(), 4000),
      0);
}

TEST(NcclOnDevice, TwoRanksOnOneDeviceAreAnErrorAndNoHang) {
  DeviceGangOptions options;
  options.join_deadline = absl::Seconds(30);
  for (const absl::Status& status : OnRanks(
           2, options, true, [](Collective*) { return absl::OkStatus(); })) {
    EXPECT_EQ(FailureClassOf(status), FailureClass::kCollective) << status;
  }
}

TEST(PrecisionOnDevice, Tf32AndBf16RoundAndFp32DoesNot) {
  Gpu();
  at::manual_seed(1);
  const at::Tensor x = at::randn({8, 64, 16, 16}, at::kDouble);
  const at::Tensor w = at::randn({64, 64, 3, 3}, at::kDouble);
  const at::Tensor b = at::zeros({64}, at::kDouble);
  const at::Tensor exact = Convolution(x, w, b, 1);
  const auto error = [&](DevicePrecision precision) {
    EXPECT_TRUE(ApplyPrecision(precision).ok());
    const at::Tensor result =
        Convolution(x.to(kGpu, at::kFloat), w.to(kGpu, at::kFloat),
                    b.to(kGpu, at::kFloat), 1);
    EXPECT_EQ(result.scalar_type(), at::kFloat);
    return ((result.cpu().to(at::kDouble) - exact).norm() / exact.norm())
        .item<double>();
  };
  EXPECT_LT(error(DevicePrecision::kFp32), 1e-6);
  const double tf32 = error(DevicePrecision::kTf32);
  EXPECT_GT(tf32, 1e-5);
  EXPECT_LT(tf32, 1e-3);
  const double bf16 = error(DevicePrecision::kBf16);
  EXPECT_GT(bf16, 1e-3);
  EXPECT_LT(bf16, 2e-2);
  EXPECT_TRUE(ApplyPrecision(DevicePrecision::kFp32).ok());
}

DistillSegmentParameters TinyIdc() {
  DistillSegmentParameters parameters;
  parameters.images_per_class = 2;
  parameters.network.depth = 2;
  parameters.network.width = 16;
  parameters.matching.inits = 2;
  parameters.matching.steps_per_init = 4;
  parameters.matching.real_batch = 8;
  parameters.matching.net_steps = 2;
  parameters.matching.net_batch = 16;
  parameters.matching.augmentation = {Augmentation::kColor, Augmentation::kCrop,
                                      Augmentation::kCutout};
  parameters.matching.net_augmentation = {Augmentation::kColor,
                                          Augmentation::kCrop};
  parameters.synthesis.factor = 2;
  return parameters;
}

TEST(TaskOnDevice, ATinyJobHasTheSameDigestTwice) {
  GpuTask task(TinyData{});
  std::vector<std::string> segments;
  for (const char* device : {"cuda:0", "cuda:0"}) {
    FakeTaskObserver observer;
    const auto outcome = task.Run(TinyIdc(), device, &observer);
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    segments.push_back(task.Read(*outcome, "segment"));
  }
  EXPECT_EQ(segments[0], segments[1]);
}

TEST(TaskOnDevice, OutOfMemoryNamesTheGroupThatFits) {
  const DeviceMemory memory = Gpu()->Memory(0);
  Gpu()->ReleaseMemory(0);
  // All but 3 GiB; a batch of 256 needs a gibibyte for each of its maps.
  const at::Tensor filler = at::empty(
      {memory.total_bytes - memory.allocated_bytes - (int64_t{3} << 30)},
      at::TensorOptions(at::kByte).device(kGpu));
  GpuTask task(TinyData{{3, 64, 64}, 2, 256, 1});
  DistillSegmentParameters parameters = TinyIdc();
  parameters.network.width = 256;
  parameters.matching.real_batch = 256;
  FakeTaskObserver observer;
  const auto outcome = task.Run(parameters, "cuda:0", &observer);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(FailureClassOf(outcome.status()), FailureClass::kOomDevice);
  EXPECT_THAT(std::string(outcome.status().message()),
              HasSubstr("execution.micro_batch"));
}

}  // namespace
}  // namespace dasm
