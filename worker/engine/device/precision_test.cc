#include "worker/engine/device/precision.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(Precision, OnlyFp32RunsOnACpu) {
  EXPECT_TRUE(CheckPrecision("fp32", at::kCPU).ok());
  for (const char* name : {"tf32", "bf16"}) {
    EXPECT_EQ(FieldOf(CheckPrecision(name, at::kCPU)), "execution.precision");
    EXPECT_TRUE(CheckPrecision(name, at::Device("cuda:1")).ok());
  }
  EXPECT_EQ(FieldOf(CheckPrecision("fp16", at::Device("cuda:0"))),
            "execution.precision");
}

// Torch's two families of switches must agree, or its kernels throw.
TEST(Precision, SwitchesBothFamiliesOfTorchTogether) {
  using enum DevicePrecision;
  for (DevicePrecision precision : {kTf32, kFp32, kTf32, kBf16, kFp32}) {
    const absl::Status status = ApplyPrecision(precision);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(AppliedPrecision(), precision);
    const bool tf32 = precision == kTf32;
    at::Context& context = at::globalContext();
    EXPECT_EQ(context.allowTF32CuBLAS(), tf32);
    EXPECT_EQ(context.allowTF32CuDNN(), tf32);
    EXPECT_EQ(context.allowTF32CuDNN(at::Float32Op::CONV), tf32);
    for (at::Float32Op op : {at::Float32Op::CONV, at::Float32Op::MATMUL}) {
      EXPECT_EQ(context.float32Precision(at::Float32Backend::CUDA, op) ==
                    at::Float32Precision::TF32,
                tf32);
    }
    EXPECT_TRUE(context.deterministicCuDNN());
    EXPECT_FALSE(context.benchmarkCuDNN());
  }
}

// A CPU's tensors are never rounded, whatever a device is set to; nor are those
// that are not fp32.
TEST(Precision, OnlyADevicesFp32MapsAreRounded) {
  ASSERT_TRUE(ApplyPrecision(DevicePrecision::kBf16).ok());
  EXPECT_FALSE(ConvolvesInBf16(at::rand({2, 3, 8, 8})));
  const at::Device meta(at::kMeta);
  EXPECT_TRUE(ConvolvesInBf16(at::empty({1}, at::TensorOptions(meta))));
  EXPECT_FALSE(ConvolvesInBf16(
      at::empty({1}, at::TensorOptions(meta).dtype(at::kBFloat16))));
  ASSERT_TRUE(ApplyPrecision(DevicePrecision::kFp32).ok());
  EXPECT_FALSE(ConvolvesInBf16(at::empty({1}, at::TensorOptions(meta))));
}

}  // namespace
}  // namespace dasm
