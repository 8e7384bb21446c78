#include "client/command/interrupt.h"

#include <unistd.h>

#include <csignal>

#include "client/command/exit_code.h"

namespace dasm {
namespace {

volatile std::sig_atomic_t requests = 0;

void Remember(int) {
  requests = requests + 1;
  if (requests > 1) _exit(kExitInterrupted);
}

void Install(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

Interrupt::Interrupt() {
  requests = 0;
  Install(Remember);
}

Interrupt::~Interrupt() { Install(SIG_DFL); }

bool Interrupt::requested() const { return requests > 0; }

}  // namespace dasm
