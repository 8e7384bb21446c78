// Reading a task's outputs, for tests of tasks.
#ifndef DASM_WORKER_ENGINE_TASK_READ_FOR_TESTS_H_
#define DASM_WORKER_ENGINE_TASK_READ_FOR_TESTS_H_

#include <ATen/ATen.h>

#include <string>

#include "common/artifact/safetensors.h"
#include "gtest/gtest.h"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {

// The tensor `name` of a safetensors file's bytes.
inline at::Tensor Read(const std::string& bytes, const std::string& name) {
  const auto file = SafetensorsFile::Parse(bytes);
  EXPECT_TRUE(file.ok()) << file.status();
  const auto found = (*file)->tensors().find(name);
  EXPECT_NE(found, (*file)->tensors().end()) << name;
  return CopyTensor(found->second);
}

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_READ_FOR_TESTS_H_
