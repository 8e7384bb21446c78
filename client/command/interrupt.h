// Ctrl-C as a question instead of an end.
#ifndef DASM_CLIENT_COMMAND_INTERRUPT_H_
#define DASM_CLIENT_COMMAND_INTERRUPT_H_

namespace dasm {

// While it lives, SIGINT and SIGTERM are remembered instead of ending the
// process; a second one ends it. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool requested() const;
};

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_INTERRUPT_H_
