// SPDX-License-Identifier: Apache-2.0
// The one exception type that the library throws for mistakes of the caller: a bad file, a bad
// setting, too little memory. The message names the part, what it got, what it wanted and the next
// step. Mistakes of our own are assertions, not errors.
#pragma once

#include <stdexcept>
#include <string>

namespace nextscale {

// What kind of mistake it was. The value is the exit code of the command line tool.
enum class ErrorCode {
  kInternal = 1,     // anything that is not one of the below
  kUsage = 2,        // a flag, a name or a value that is not understood
  kNotFound = 3,     // a file, folder or class that does not exist
  kBadFile = 4,      // truncated, malformed or hostile contents
  kMismatch = 5,     // a sound file of the wrong family, shape or version
  kUnsupported = 6,  // understood, but not something that this engine does
  kMemory = 7,       // would not fit, or an allocation failed
  kIo = 8,           // the operating system refused a read or a write (disk full, permission)
  kCancelled = 130,  // stopped on request (SIGINT)
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace nextscale
