"""system/service_managers"""
