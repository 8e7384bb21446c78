#include "worker/agent/device_inventory.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

// A runner that prints one line and ends.
class Describing final : public RunnerLauncher {
 public:
  explicit Describing(std::string line) : line_(std::move(line)) {}
  absl::StatusOr<std::unique_ptr<RunnerProcess>> Launch(
      const RunnerCommand& command, Listener listener) override {
    class Ended final : public RunnerProcess {
      void Signal(int signal) override {}
    };
    listener.on_line(/*is_stderr=*/false, line_);
    listener.on_exit({});
    return std::make_unique<Ended>();
  }

 private:
  const std::string line_;
};

std::string Gpu(int index, const std::string& architecture) {
  return absl::StrCat(R"({"device":"cuda:)", index,
                      R"(","model":"H100","uuid":"u)", index,
                      R"(","memory_bytes":85000000000,"numerics_class":"cuda-)",
                      architecture, R"(/torch/fp32/n1"})");
}

absl::StatusOr<DeviceInventory> Inventory(const std::string& devices,
                                          const InventoryOptions& options) {
  Describing launcher(absl::StrCat(
      R"({"numerics_class":"cpu-avx2/torch/fp32/n1","version":"1",)"
      R"("devices":[)",
      devices, "]}"));
  return TakeInventory(options, &launcher);
}

TEST(TakeInventory, OffersASlotADevice) {
  const auto inventory =
      Inventory(Gpu(0, "sm90") + "," + Gpu(1, "sm90"), InventoryOptions());
  ASSERT_TRUE(inventory.ok()) << inventory.status();
  EXPECT_EQ(inventory->slots, 2);
  EXPECT_EQ(inventory->threads, 1);
  EXPECT_EQ(inventory->numerics_class, "cuda-sm90/torch/fp32/n1");
  ASSERT_EQ(inventory->devices.size(), 2u);
  EXPECT_EQ(inventory->devices[1].name, "cuda:1");
  EXPECT_EQ(inventory->devices[1].uuid, "u1");
  EXPECT_EQ(inventory->devices[0].memory_bytes, 85000000000);
}

TEST(TakeInventory, MoreSlotsThanDevicesMustBeAskedFor) {
  InventoryOptions options;
  options.slots = 3;
  const auto refused = Inventory(Gpu(0, "sm90"), options);
  EXPECT_EQ(FieldOf(refused.status()), "slots");
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("--share-devices"));
  options.share_devices = true;
  const auto shared = Inventory(Gpu(0, "sm90"), options);
  ASSERT_TRUE(shared.ok()) << shared.status();
  EXPECT_EQ(shared->slots, 3);
}

TEST(TakeInventory, WithoutDevicesTheCpuComputes) {
  const auto none = Inventory("", InventoryOptions());
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(none->slots, 1);
  EXPECT_EQ(none->numerics_class, "cpu-avx2/torch/fp32/n1");
  EXPECT_TRUE(none->devices.empty());
  InventoryOptions cpu;
  cpu.use_devices = false;
  cpu.slots = 4;
  const auto unused = Inventory(Gpu(0, "sm90"), cpu);
  ASSERT_TRUE(unused.ok()) << unused.status();
  EXPECT_EQ(unused->slots, 4);
  EXPECT_EQ(unused->numerics_class, "cpu-avx2/torch/fp32/n1");
}

TEST(TakeInventory, DevicesOfSeveralClassesAreNotOneWorker) {
  const auto mixed =
      Inventory(Gpu(0, "sm80") + "," + Gpu(1, "sm90"), InventoryOptions());
  EXPECT_EQ(mixed.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(mixed.status().message()),
              HasSubstr("CUDA_VISIBLE_DEVICES"));
  EXPECT_FALSE(Inventory("{}", InventoryOptions()).ok());
}

}  // namespace
}  // namespace dasm
