#include "worker/agent/exit_class.h"

#include <signal.h>

#include "gtest/gtest.h"
#include "worker/runner/exit_code.h"

namespace dasm {
namespace {

TEST(ExitClass, WhatAProcessDoesToItselfIsInternal) {
  for (int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTERM}) {
    EXPECT_EQ(ClassOfExit({0, signal}, false), FailureClass::kInternal)
        << signal;
    // The kernel's killer uses SIGKILL alone.
    EXPECT_EQ(ClassOfExit({0, signal}, true), FailureClass::kInternal)
        << signal;
  }
  EXPECT_EQ(ClassOfExit({0, 0}, false), FailureClass::kInternal);
  EXPECT_EQ(ClassOfExit({1, 0}, true), FailureClass::kInternal);
}

TEST(ExitClass, AKillIsTheKernelsForWantOfMemoryOrFromOutside) {
  EXPECT_EQ(ClassOfExit({0, SIGKILL}, true), FailureClass::kOomHost);
  EXPECT_EQ(ClassOfExit({0, SIGKILL}, false), FailureClass::kNodeLost);
}

TEST(ExitClass, ACodeOfTheTaxonomySpeaksForItself) {
  for (FailureClass failure : {FailureClass::kNumeric, FailureClass::kOomDevice,
                               FailureClass::kData, FailureClass::kPreempted}) {
    EXPECT_EQ(ClassOfExit({ExitCodeOf(failure), 0}, false), failure);
  }
}

TEST(ExitClass, AnEndIsDescribedByCodeOrSignal) {
  EXPECT_EQ(Describe({3, 0}), "exit code 3");
  EXPECT_EQ(Describe({0, SIGKILL}), "signal 9 (Killed)");
}

}  // namespace
}  // namespace dasm
