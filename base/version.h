// The version of ninfer, as plans and every program's --version show it.
#ifndef NINFER_BASE_VERSION_H_
#define NINFER_BASE_VERSION_H_

namespace ninfer {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace ninfer

#endif  // NINFER_BASE_VERSION_H_
