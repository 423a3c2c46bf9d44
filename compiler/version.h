// The compiler's version, as plans and --version show it.
#ifndef NINFER_COMPILER_VERSION_H_
#define NINFER_COMPILER_VERSION_H_

namespace ninfer::compiler {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_VERSION_H_
